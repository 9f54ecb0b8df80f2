#include "node/config/settings_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

int LineOf(const YAML::Mark& mark) { return mark.is_null() ? 1 : mark.line + 1; }

// Turns the nodes of one file into settings; the first error stays.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  absl::StatusOr<std::vector<FileSetting>> Read(const std::vector<YAML::Node>& documents) {
    if (documents.size() > 1) Fail(LineOf(documents[1].Mark()), "a second document begins here");
    std::vector<FileSetting> settings;
    if (documents.empty() || documents[0].IsNull()) return Result(std::move(settings));
    if (!documents[0].IsMap()) {
      Fail(LineOf(documents[0].Mark()), "write settings as 'key: value' lines");
      return error_;
    }
    std::set<std::string> seen;
    for (const auto& entry : documents[0]) {
      FileSetting setting;
      setting.line = LineOf(entry.first.Mark());
      setting.key = Key(entry.first, &seen);
      if (entry.second.IsMap()) {
        setting.is_map = true;
        setting.entries = Entries(setting.key, entry.second);
      } else {
        setting.text = Text(setting.key, setting.line, entry.second);
      }
      settings.push_back(std::move(setting));
    }
    return Result(std::move(settings));
  }

 private:
  void Fail(int line, absl::string_view why) {
    if (!error_.ok()) return;
    error_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line, ": ", why));
  }

  absl::StatusOr<std::vector<FileSetting>> Result(std::vector<FileSetting> settings) const {
    if (!error_.ok()) return error_;
    return settings;
  }

  std::string Key(const YAML::Node& node, std::set<std::string>* seen) {
    const int line = LineOf(node.Mark());
    if (!node.IsScalar()) {
      Fail(line, "a key must be a plain word");
      return "";
    }
    if (!seen->insert(node.Scalar()).second) {
      Fail(line, absl::StrCat("key '", node.Scalar(), "' comes twice"));
    }
    return node.Scalar();
  }

  std::string Text(const std::string& key, int line, const YAML::Node& node) {
    if (node.IsScalar()) return node.Scalar();
    // A value that is missing stands nowhere: its key has the line.
    if (!node.IsNull()) line = LineOf(node.Mark());
    Fail(line,
         absl::StrCat("'", key, "' ", node.IsNull() ? "has no value" : "must be one value",
                      node.IsSequence() ? ", not a list" : "", node.IsMap() ? ", not a map" : ""));
    return "";
  }

  std::vector<FileSetting::Entry> Entries(const std::string& key, const YAML::Node& map) {
    std::vector<FileSetting::Entry> entries;
    std::set<std::string> seen;
    for (const auto& pair : map) {
      FileSetting::Entry entry;
      entry.line = LineOf(pair.first.Mark());
      entry.name = Key(pair.first, &seen);
      entry.text = Text(absl::StrCat(key, ".", entry.name), entry.line, pair.second);
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  const std::string name_;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<std::vector<FileSetting>> ParseSettings(const std::string& text,
                                                       const std::string& name) {
  // yaml-cpp throws; nothing of that leaves this function.
  try {
    return Reader(name).Read(YAML::LoadAll(text));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(name, ":", LineOf(error.mark), ": ", error.msg));
  }
}

absl::StatusOr<std::vector<FileSetting>> ReadSettingsFile(const std::string& path) {
  const auto unreadable = [&path](int error) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": ", strerror(error)));
  };
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return unreadable(errno);
  if (S_ISDIR(status.st_mode)) return unreadable(EISDIR);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return unreadable(errno);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return unreadable(EIO);
  return ParseSettings(text, path);
}

}  // namespace mailrail
