#ifndef MAILRAIL_NODE_CLI_TABLE_H_
#define MAILRAIL_NODE_CLI_TABLE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace mailrail::cli {

// Rows of text in aligned columns under a header. Thread-compatible.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // REQUIRES: as many cells as columns. An empty cell shows as "-"; control characters are escaped.
  void AddRow(std::vector<std::string> cells);

  // One line for the header and one for each row, with no blanks at their ends.
  std::string ToString() const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // the header first
};

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_TABLE_H_
