#include "tests/kill/account.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

constexpr absl::string_view kMemfd = "/memfd:";

void AddDescriptors(pid_t pid, Account* account) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"), error)) {
    ++account->processes.back().descriptors;
    const std::string name = std::filesystem::read_symlink(entry.path(), error).string();
    struct stat status;
    if (!absl::StartsWith(name, kMemfd) || stat(entry.path().c_str(), &status) != 0) continue;
    account->memories[status.st_ino] = {name, static_cast<uint64_t>(status.st_blocks) * 512};
  }
}

void AddMappings(pid_t pid, Account* account) {
  std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
  for (std::string line; std::getline(maps, line);) {
    if (!absl::StrContains(line, kMemfd)) continue;
    ++account->processes.back().mappings;
    std::istringstream words(line);
    std::string range, mode, offset, device, name;
    ino_t inode;
    if (words >> range >> mode >> offset >> device >> inode >> name) {
      account->memories.try_emplace(inode, Account::Memory{name, 0});
    }
  }
}

void Compare(absl::string_view what, size_t process, size_t before, size_t now,
             std::string* difference) {
  if (before == now) return;
  absl::StrAppend(difference, what, " of process ", process, ": ", before, " -> ", now, "; ");
}

}  // namespace

Account Account::Take(const std::vector<pid_t>& pids) {
  Account account;
  for (const pid_t pid : pids) {
    account.processes.emplace_back();
    AddDescriptors(pid, &account);
    AddMappings(pid, &account);
  }
  return account;
}

std::string Account::Difference(const Account& before) const {
  std::string difference;
  for (size_t i = 0; i < processes.size(); ++i) {
    Compare("descriptors", i, before.processes[i].descriptors, processes[i].descriptors,
            &difference);
    Compare("mappings", i, before.processes[i].mappings, processes[i].mappings, &difference);
  }
  for (const auto& [inode, memory] : memories) {
    if (before.memories.contains(inode)) continue;
    absl::StrAppend(&difference, memory.name, " of ", memory.bytes, " bytes is left; ");
  }
  for (const auto& [inode, memory] : before.memories) {
    if (!memories.contains(inode)) absl::StrAppend(&difference, memory.name, " is gone; ");
  }
  return difference;
}

}  // namespace mailrail
