#include "examples/word_count/count.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace mailrail::examples {

Counts CountText(absl::string_view text) {
  uint64_t lines = 0, words = 0, unprintable = 0;
  bool in_word = false, printable = false;
  const auto end_word = [&] {
    words += in_word && printable;
    unprintable += in_word && !printable;
    in_word = printable = false;
  };
  for (const char c : text) {
    lines += c == '\n';
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      end_word();
    } else {
      in_word = true;
      printable |= absl::ascii_isgraph(static_cast<unsigned char>(c));
    }
  }
  end_word();
  Counts counts;
  counts.set_lines(lines);
  counts.set_words(words);
  counts.set_unprintable_words(unprintable);
  counts.set_bytes(text.size());
  return counts;
}

void Add(const Counts& counts, Counts* total) {
  total->set_lines(total->lines() + counts.lines());
  total->set_words(total->words() + counts.words());
  total->set_unprintable_words(total->unprintable_words() + counts.unprintable_words());
  total->set_bytes(total->bytes() + counts.bytes());
}

absl::StatusOr<WcCounts> RunWc(const std::vector<std::string>& files) {
  // The shell reads the names from us, and its output goes to a file: no pipe can fill up.
  std::string result = "/tmp/word_count.XXXXXX";
  const int fd = mkstemp(result.data());
  if (fd < 0) return absl::UnavailableError("cannot write in /tmp");
  close(fd);
  const std::string command = absl::StrCat(
      "export LC_ALL=C; { printf '\\377' | wc -w && xargs -0 cat -- | wc; } >", result);
  FILE* const shell = popen(command.c_str(), "w");
  for (const std::string& file : files) {
    if (shell != nullptr) fwrite(file.c_str(), 1, file.size() + 1, shell);
  }
  const bool ran = shell != nullptr && pclose(shell) == 0;
  std::ifstream output(result);
  WcCounts counts;
  output >> counts.counts_unprintable >> counts.lines >> counts.words >> counts.bytes;
  unlink(result.c_str());
  if (!ran || !output) return absl::UnavailableError("cannot run wc");
  return counts;
}

}  // namespace mailrail::examples
