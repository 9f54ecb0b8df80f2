#include "node/cli/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mailrail::cli {
namespace {

constexpr absl::string_view kGap = "  ";

// How many characters a terminal shows of UTF-8 text.
size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string Shown(const std::string& cell) {
  if (cell.empty()) return "-";
  const bool plain = std::all_of(cell.begin(), cell.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
  return plain ? cell : absl::Utf8SafeCHexEscape(cell);
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  std::vector<std::string>& header = rows_.emplace_back();
  for (const Column& column : columns_) header.push_back(column.title);
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Shown(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<size_t> widths(columns_.size(), 0);
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string blanks(widths[i] - Width(row[i]), ' ');
      const bool right = columns_[i].align == Align::kRight;
      absl::StrAppend(&line, i == 0 ? "" : kGap, right ? blanks : "", row[i], right ? "" : blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace mailrail::cli
