// Copies a file to another host, through a named pipe:
//
//   file_copy receive backup /srv/copy     # on one host
//   file_copy send backup /srv/file        # on another
//
// Nothing of a copy that has not come whole is left: the receiver knows by the size, which goes
// first.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mailrail/mailrail.h"

namespace {

absl::Status Send(mailrail::Process& process, const std::string& name, const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  const auto size = static_cast<uint64_t>(file.tellg());
  file.seekg(0);
  absl::StatusOr<mailrail::PipeWriter> pipe = mailrail::PipeWriter::Open(process, name);
  if (!pipe.ok()) return pipe.status();
  if (absl::Status status = pipe->Write(absl::StrCat(size, "\n")); !status.ok()) return status;
  std::vector<char> buffer(mailrail::kPipeAtomicBytes);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         file.gcount() > 0) {
    const absl::Status status = pipe->Write({buffer.data(), static_cast<size_t>(file.gcount())});
    if (!status.ok()) return status;
  }
  std::cout << "sent " << size << " bytes" << std::endl;
  return absl::OkStatus();
}

absl::Status Receive(mailrail::Process& process, const std::string& name, const std::string& path) {
  absl::StatusOr<mailrail::PipeReader> pipe = mailrail::PipeReader::Open(process, name);
  if (!pipe.ok()) return pipe.status();
  std::string first;
  for (char byte = 0; byte != '\n'; first += byte) {
    const absl::StatusOr<size_t> count = pipe->Read(absl::MakeSpan(&byte, 1));
    if (!count.ok()) return count.status();
    if (*count == 0) return absl::DataLossError("the sender has said nothing");
  }
  uint64_t size = 0;
  if (!absl::SimpleAtoi(first, &size)) return absl::DataLossError("that is no file of ours");
  const std::string partial = absl::StrCat(path, ".partial");
  std::ofstream file(partial, std::ios::binary);
  uint64_t received = 0;
  while (true) {
    const absl::StatusOr<absl::string_view> bytes = pipe->ReadView();
    if (!bytes.ok()) return bytes.status();
    if (bytes->empty()) break;  // the sender has left
    file.write(bytes->data(), static_cast<std::streamsize>(bytes->size()));
    received += bytes->size();
  }
  file.close();
  if (!file || received != size) {
    std::remove(partial.c_str());
    return absl::DataLossError(absl::StrCat("only ", received, " of ", size, " bytes came"));
  }
  if (std::rename(partial.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot make ", path));
  }
  std::cout << "received " << size << " bytes" << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 4 ? argv[1] : "";
  if (what != "send" && what != "receive") {
    std::cerr << "usage: file_copy send|receive PIPE FILE\n";
    return 2;
  }
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  absl::Status status = process.status();
  if (status.ok()) {
    status =
        what == "send" ? Send(*process, argv[2], argv[3]) : Receive(*process, argv[2], argv[3]);
  }
  if (!status.ok()) std::cerr << status << "\n";
  return mailrail::ExitCode(status);
}
