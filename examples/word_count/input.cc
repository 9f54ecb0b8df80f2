#include "examples/word_count/input.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mailrail::examples {
namespace {

namespace fs = std::filesystem;

constexpr char kWhiteSpace[] = " \t\n\v\f\r";
constexpr const char* kTextFolders[] = {"/usr/share/common-licenses", "/usr/share/perl5",
                                        "/usr/share/perl", "/usr/share/doc"};

bool IsText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  char start[4096];
  file.read(start, sizeof(start));
  return file.gcount() > 0 &&
         std::find(start, start + file.gcount(), '\0') == start + file.gcount();
}

absl::Status AddFolder(const std::string& folder, Input* input) {
  std::error_code error;
  std::vector<std::string> files;
  auto entry = fs::recursive_directory_iterator(
      folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    // A link leads to what is found elsewhere, or not at all.
    if (!fs::is_regular_file(entry->symlink_status()) || !IsText(entry->path())) continue;
    files.push_back(entry->path());
    input->bytes += entry->file_size(error);
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": ", error.message()));
  std::sort(files.begin(), files.end());
  input->files.insert(input->files.end(), files.begin(), files.end());
  input->folders.push_back(folder);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Input> FindText(const std::vector<std::string>& folders, uint64_t min_bytes) {
  Input input;
  for (const std::string& folder : folders) {
    if (absl::Status status = AddFolder(folder, &input); !status.ok()) return status;
  }
  if (folders.empty()) {
    for (const char* const folder : kTextFolders) {
      if (input.bytes >= min_bytes || !fs::exists(folder)) continue;
      if (absl::Status status = AddFolder(folder, &input); !status.ok()) return status;
    }
  }
  if (input.bytes == 0) {
    return absl::NotFoundError("no text under " + absl::StrJoin(input.folders, ", "));
  }
  const std::vector<std::string> once = input.files;
  const uint64_t bytes_once = input.bytes;
  for (; input.bytes < min_bytes; ++input.repetitions) {
    input.files.insert(input.files.end(), once.begin(), once.end());
    input.bytes += bytes_once;
  }
  return input;
}

absl::StatusOr<std::string> ChunkReader::Next() {
  std::string chunk = std::exchange(rest_, "");
  while (true) {
    const size_t size = chunk.size();
    if (size >= chunk_bytes_) {
      const size_t space = chunk.find_last_of(kWhiteSpace);
      if (space != std::string::npos) {
        rest_ = chunk.substr(space + 1);
        chunk.resize(space + 1);
        return chunk;
      }
    }
    if (!file_.is_open()) {
      if (next_file_ == files_.size()) return chunk;
      file_.open(files_[next_file_++], std::ios::binary);
      if (!file_) return absl::NotFoundError("cannot read " + files_[next_file_ - 1]);
    }
    const size_t wanted = size < chunk_bytes_ ? chunk_bytes_ - size : chunk_bytes_;
    chunk.resize(size + wanted);
    file_.read(&chunk[size], static_cast<std::streamsize>(wanted));
    chunk.resize(size + static_cast<size_t>(file_.gcount()));
    if (!file_) file_ = std::ifstream();
  }
}

}  // namespace mailrail::examples
