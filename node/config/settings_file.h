#ifndef MAILRAIL_NODE_CONFIG_SETTINGS_FILE_H_
#define MAILRAIL_NODE_CONFIG_SETTINGS_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrail {

// One key of a settings file and its value: a text, or names with a text each.
struct FileSetting {
  struct Entry {
    std::string name;
    std::string text;
    int line = 0;
  };

  std::string key;
  int line = 0;  // counts from 1
  bool is_map = false;
  std::string text;            // when it is no map
  std::vector<Entry> entries;  // when it is one
};

// Reads `text`, which is YAML: a map of settings, each a text or a map of texts. kInvalidArgument
// for anything else and for a key that comes twice; the message begins with "`name`:LINE: ".
absl::StatusOr<std::vector<FileSetting>> ParseSettings(const std::string& text,
                                                       const std::string& name);

// The same with the contents of a file; kInvalidArgument when it cannot be read.
absl::StatusOr<std::vector<FileSetting>> ReadSettingsFile(const std::string& path);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CONFIG_SETTINGS_FILE_H_
