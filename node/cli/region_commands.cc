// Named shared memory: `region`.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "mailrail/region.h"
#include "mailrail/sync.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/line_reader.h"
#include "node/cli/region_rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

struct RegionArguments {
  std::string socket;
  std::string name;
  std::vector<std::string> names;  // of destroy
  OutputFormat format = OutputFormat::kText;
  uint64_t bytes = 0;
  uint64_t offset = 0;
  uint64_t after = 0;
  uint64_t count = 0;
  bool exclusive = false, text = false, memory = false, no_publish = false;
  CLI::Option* at = nullptr;
  CLI::Option* newer = nullptr;
  absl::Duration timeout = absl::InfiniteDuration();

  absl::Time deadline() const { return absl::Now() + timeout; }
};
using ArgumentsPtr = std::shared_ptr<RegionArguments>;

absl::StatusOr<uint64_t> ReadVersionNumber(absl::string_view text) {
  return ReadNumber(text, 0, uint64_t{1} << 62);
}

using Run = absl::Status (*)(const RegionArguments& arguments, Process& process);

absl::Status RunCreate(const RegionArguments& arguments, Process& process) {
  NamedRegionOptions options;
  options.exclusive = arguments.exclusive;
  return SharedRegion::Create(process, arguments.name, arguments.bytes, options).status();
}

absl::StatusOr<std::string> ReadMemory(const SharedRegion& region) {
  if (region.data() == nullptr) {
    return absl::FailedPreconditionError("the memory of a region is read on its own node");
  }
  return std::string(region.data(), region.size());
}

absl::Status RunRead(const RegionArguments& arguments, Process& process) {
  absl::StatusOr<SharedRegion> region =
      SharedRegion::Open(process, arguments.name, RegionAccess::kReadOnly);
  if (!region.ok()) return region.status();
  std::string bytes;
  if (arguments.memory) {
    absl::StatusOr<std::string> memory = ReadMemory(*region);
    if (!memory.ok()) return memory.status();
    bytes = *std::move(memory);
  } else {
    absl::StatusOr<RegionVersion> version =
        arguments.newer->count() == 0 ? region->ReadVersion()
                                      : region->WaitNewer(arguments.after, arguments.deadline());
    if (!version.ok()) return version.status();
    bytes = std::move(version->bytes);
  }
  // All that is not there are zeros.
  if (arguments.text) bytes.resize(bytes.find_last_not_of('\0') + 1);
  return Print(bytes);
}

absl::Status RunWrite(const RegionArguments& arguments, Process& process) {
  absl::StatusOr<SharedRegion> region = SharedRegion::Open(process, arguments.name);
  if (!region.ok()) return region.status();
  const size_t offset = arguments.offset, size = region->size();
  if (offset > size) {
    return absl::InvalidArgumentError(absl::StrCat("the region has ", size, " bytes"));
  }
  const absl::StatusOr<std::string> bytes = ReadAll(STDIN_FILENO, size - offset);
  if (absl::IsInvalidArgument(bytes.status())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the input is larger than the region from there on, ", size - offset, " bytes"));
  }
  if (!bytes.ok()) return bytes.status();
  OpenOptions of_lock;
  of_lock.transient = true;
  const std::string own_name = arguments.name.substr(0, arguments.name.find('@'));
  // Of this node: another may have one of that name.
  absl::StatusOr<Mutex> mutex =
      Mutex::Open(process, absl::StrCat(own_name, "@", process.id().node()), of_lock);
  if (!mutex.ok()) return mutex.status();
  absl::StatusOr<MutexLock> lock = MutexLock::Acquire(*mutex, arguments.deadline());
  if (!lock.ok()) return lock.status();
  std::copy(bytes->begin(), bytes->end(), region->mutable_data() + offset);
  if (arguments.at->count() == 0) {
    std::memset(region->mutable_data() + bytes->size(), 0, size - bytes->size());
  }
  if (arguments.no_publish) return absl::OkStatus();
  const absl::StatusOr<uint64_t> version = region->Publish();
  if (!version.ok()) return version.status();
  return Print(absl::StrCat(*version, "\n"));
}

absl::Status RunWatch(const RegionArguments& arguments, Process& process) {
  absl::StatusOr<SharedRegion> region =
      SharedRegion::Open(process, arguments.name, RegionAccess::kReadOnly);
  if (!region.ok()) return region.status();
  uint64_t seen = arguments.newer->count() == 0 ? region->version() : arguments.after;
  for (uint64_t i = 0; arguments.count == 0 || i < arguments.count; ++i) {
    const absl::StatusOr<RegionVersion> newer = region->WaitNewer(seen, arguments.deadline());
    if (!newer.ok()) return newer.status();
    seen = newer->version;
    if (absl::Status status = Print(absl::StrCat(seen, "\n")); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunDestroy(const RegionArguments& arguments, Process& process) {
  for (const std::string& name : arguments.names) {
    if (absl::Status status = SharedRegion::Destroy(process, name); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Execute(const RegionArguments& arguments, Run run) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  return process.ok() ? run(arguments, *process) : process.status();
}

absl::Status RunList(const RegionArguments& arguments) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  const absl::StatusOr<control::Listing> listing = (*client)->List(control::REGIONS);
  return listing.ok() ? Print(FormatRegions(*listing, arguments.format)) : listing.status();
}

absl::Status RunStat(const RegionArguments& arguments) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  const size_t at = arguments.name.find('@');
  const absl::StatusOr<control::Listing> listing =
      (*client)->List(control::REGIONS, arguments.name.substr(0, at));
  if (!listing.ok()) return listing.status();
  std::string home = at == std::string::npos ? "" : arguments.name.substr(at + 1);
  const absl::StatusOr<std::string> here = (*client)->Node();
  if (here.ok() && home == *here) home.clear();
  // Without a node: this node's, else whichever there is.
  const control::RegionRow* found = nullptr;
  for (const control::RegionRow& row : listing->regions()) {
    const bool better = row.home() == home;
    if (better || (found == nullptr && at == std::string::npos)) found = &row;
    if (better) break;
  }
  if (found != nullptr) return Print(FormatRegion(*found, arguments.format));
  return absl::NotFoundError(absl::StrCat("this node has neither a region nor a value '",
                                          arguments.name, "'; see mailrail region ls"));
}

CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments) {
  CLI::App* const command = AddCommand(parent, name, help, example);
  AddSocketFlag(*command, &arguments->socket);
  return command;
}

CLI::App* AddRun(CLI::App& parent, Action* action, const std::string& name, const std::string& help,
                 const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* const command = Add(parent, name, help, example, arguments);
  command->callback([arguments, action, run] {
    *action = [arguments, run] { return Report(Execute(*arguments, run)); };
  });
  return command;
}

template <typename T>
void AddName(CLI::App& command, T* name) {
  command.add_option("name", *name, "what it is called")->type_name("NAME")->required();
}

void AddTimeout(CLI::App& command, RegionArguments* arguments, const std::string& what) {
  AddParsedFlag(command, "--timeout", &arguments->timeout, ReadDuration,
                absl::StrCat(what, "; exit code 4 when that was in vain (default: inf)"))
      ->type_name("DURATION");
}

void AddCreate(CLI::App& region, Action* action) {
  const auto arguments = std::make_shared<RegionArguments>();
  CLI::App* const command =
      AddRun(region, action, "create", "Make a region on this node, unless it is there",
             "mailrail region create prices --bytes 64K", arguments, RunCreate);
  AddName(*command, &arguments->name);
  AddParsedFlag(*command, "--bytes", &arguments->bytes, ReadSize, "its size, in whole pages")
      ->type_name("SIZE")
      ->required();
  command->add_flag("--exclusive", arguments->exclusive, "exit code 6 when it is there");
}

void AddRead(CLI::App& region, Action* action) {
  const auto arguments = std::make_shared<RegionArguments>();
  CLI::App* const command =
      AddRun(region, action, "read", "Print the last version, of a region of this node or another",
             "mailrail region read prices --text\n"
             "  mailrail region read prices@alpha --newer 7 >prices.bin",
             arguments, RunRead);
  AddName(*command, &arguments->name);
  arguments->newer = AddParsedFlag(*command, "--newer", &arguments->after, ReadVersionNumber,
                                   "wait for a version newer than this one")
                         ->type_name("VERSION");
  command->add_flag("--text", arguments->text, "without the zeros at its end");
  command
      ->add_flag("--memory", arguments->memory,
                 "what is in the memory now, published or not; on its own node")
      ->excludes(arguments->newer);
  AddTimeout(*command, arguments.get(), "how long to wait for it");
}

void AddWrite(CLI::App& region, Action* action) {
  const auto arguments = std::make_shared<RegionArguments>();
  CLI::App* const command = AddRun(
      region, action, "write",
      "Write standard input into a region of this node, publish it, and print the version",
      "mailrail region write prices <prices.txt\n"
      "  printf x | mailrail region write flags --at 7\n\n"
      "What is behind the input becomes zeros, unless --at says where it begins. Writers take\n"
      "turns by the mutex of the region's name.",
      arguments, RunWrite);
  AddName(*command, &arguments->name);
  arguments->at = AddParsedFlag(*command, "--at", &arguments->offset, ReadSize,
                                "where to write; the rest stays as it is")
                      ->type_name("OFFSET");
  command->add_flag("--no-publish", arguments->no_publish, "only into the memory");
  AddTimeout(*command, arguments.get(), "how long to wait for other writers");
}

void AddWatchVersions(CLI::App& region, Action* action) {
  const auto arguments = std::make_shared<RegionArguments>();
  CLI::App* const command =
      AddRun(region, action, "watch", "Print the number of each newer version that is seen",
             "mailrail region watch prices@alpha | while read version; do ./reload; done\n\n"
             "Versions between may be passed over. Exit code 14 when it is destroyed.",
             arguments, RunWatch);
  AddName(*command, &arguments->name);
  arguments->newer = AddParsedFlag(*command, "--newer", &arguments->after, ReadVersionNumber,
                                   "than this one (default: the last that is there)")
                         ->type_name("VERSION");
  AddParsedFlag(*command, "--count", &arguments->count, ReadCount,
                "end after so many (default: never)")
      ->type_name("N");
  AddTimeout(*command, arguments.get(), "how long to wait for each");
}

}  // namespace

void AddRegionCommand(CLI::App& app, Action* action) {
  CLI::App* const region =
      AddCommand(app, "region", "Use shared memory by name, with versions that other nodes read",
                 "mailrail region create prices --bytes 64K\n"
                 "  mailrail region write prices <prices.txt; mailrail region read prices --text");
  region->require_subcommand(1);
  AddCreate(*region, action);
  AddRead(*region, action);
  AddWrite(*region, action);
  AddWatchVersions(*region, action);
  const auto arguments = std::make_shared<RegionArguments>();
  CLI::App* const list =
      Add(*region, "ls", "List this node's regions and values, and replicas of others'",
          "mailrail region ls -o json", arguments);
  AddOutputFlag(*list, &arguments->format);
  list->callback(
      [arguments, action] { *action = [arguments] { return Report(RunList(*arguments)); }; });
  CLI::App* const stat = Add(*region, "stat", "Show a region or value of this node, or a replica",
                             "mailrail region stat prices -o json", arguments);
  AddName(*stat, &arguments->name);
  AddOutputFlag(*stat, &arguments->format);
  stat->callback(
      [arguments, action] { *action = [arguments] { return Report(RunStat(*arguments)); }; });
  CLI::App* const destroy =
      AddRun(*region, action, "destroy", "Remove regions: who waits for a version fails",
             "mailrail region destroy prices", arguments, RunDestroy);
  AddName(*destroy, &arguments->names);
}

}  // namespace mailrail::cli
