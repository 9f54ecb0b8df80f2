// What is read from text and bytes: identities, names, numbers with units, settings, packets to the
// keeper, and what an agent before this one kept. What is read well and written again is the same.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/name.h"
#include "core/shm/memory.h"
#include "mailrail/process_id.h"
#include "node/agent/registry.h"
#include "node/agent/vault.h"
#include "node/config/agent_settings.h"
#include "node/config/settings_file.h"
#include "node/config/units.h"
#include "node/keeper/codec.h"
#include "node/keeper/store_server.h"
#include "tests/fuzz/input.h"

namespace mailrail {
namespace {

void ReadProcessId(absl::string_view text) {
  const absl::StatusOr<ProcessId> id = ProcessId::Parse(text);
  if (!id.ok()) return Promise(absl::IsInvalidArgument(id.status()), "no id is said to be none");
  const absl::StatusOr<ProcessId> again = ProcessId::Parse(id->ToString());
  Promise(again.ok() && *again == *id, "an id that is written is the same");
}

void ReadName(absl::string_view text) {
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("mailbox", text);
  if (!name.ok()) return;
  Promise(name->ToString() == text, "a name that is written is the same");
  Promise(CheckName("mailbox", name->name).ok() && name->name.size() <= kMaxNameLength,
          "a name is within its limits");
  Promise(CheckName("node", NodeNameFrom(text)).ok(), "any text makes a node's name");
}

void ReadUnits(absl::string_view text) {
  if (const auto number = ReadNumber(text, 3, 1000); number.ok()) {
    Promise(*number >= 3 && *number <= 1000, "a number is within its limits");
  }
  if (const auto size = ReadSize(text); size.ok()) {
    const absl::StatusOr<uint64_t> again = ReadSize(FormatSize(*size));
    Promise(again.ok() && *again == *size, "a size that is written is the same");
  }
  if (const auto mode = ReadMode(text); mode.ok()) {
    const absl::StatusOr<uint32_t> again = ReadMode(FormatMode(*mode));
    Promise(again.ok() && *again == *mode, "a mode that is written is the same");
  }
  if (const auto duration = ReadDuration(text); duration.ok()) {
    Promise(*duration >= absl::ZeroDuration(), "no duration is negative");
  }
  if (const auto count = ReadCount(text); count.ok()) Promise(*count > 0, "a count is one or more");
  ReadAddress(text, true).IgnoreError();
  ReadAddress(text, false).IgnoreError();
}

void ReadSettings(absl::string_view text) {
  const absl::StatusOr<std::vector<FileSetting>> settings =
      ParseSettings(std::string(text), "fuzz.yaml");
  if (!settings.ok()) {
    return Promise(absl::IsInvalidArgument(settings.status()), "no settings are said to be none");
  }
  AgentConfig config;
  for (const FileSetting& setting : *settings) {
    for (const AgentSetting& known : AgentSettings()) {
      if (setting.key != known.key || setting.is_map) continue;
      if (!known.set(setting.text, &config).ok()) continue;
      const std::string text_form = known.get(config);
      AgentConfig again;
      if (!text_form.empty()) {
        Promise(known.set(text_form, &again).ok() && known.get(again) == text_form,
                "a setting that is written is the same");
      }
    }
  }
}

// All settings in their text forms, as flags and the environment have them.
void SetEach(absl::string_view text) {
  for (const AgentSetting& setting : AgentSettings()) {
    AgentConfig config;
    const absl::Status status = setting.set(text, &config);
    Promise(status.ok() || absl::IsInvalidArgument(status), "a bad setting is said to be one");
  }
}

// Requests as an agent sends them, one after the other, to one store.
void KeepRecords(Input* input) {
  StoreServer store;
  while (!input->empty()) {
    Packet packet;
    if (input->Bool()) {
      packet.bytes = std::string(input->Bytes(input->Below(64)));
    } else {
      const auto kind = static_cast<KeeperPacketKind>(input->Below(8));
      const auto number = static_cast<uint32_t>(input->Number());
      const absl::string_view key = input->Bytes(input->Below(8));
      packet.bytes = EncodeKeeperPacket({kind, number, key, input->Bytes(input->Below(16))});
      const absl::StatusOr<KeeperPacket> read = DecodeKeeperPacket(packet.bytes);
      Promise(!read.ok() || EncodeKeeperPacket(*read) == packet.bytes,
              "a packet is read as written");
    }
    const StoreServer::Reply reply = store.Handle(std::move(packet));
    Promise(DecodeKeeperPacket(reply.bytes).ok(), "the keeper answers whatever it is asked");
    store.TakeLeave();
  }
}

// What an agent before this one has kept, as it might have been spoilt.
void Restore(Input* input) {
  constexpr const char* kKeys[] = {"node",    "process/1", "mailbox/2", "receiver/2/1",
                                   "lane/3",  "link/4",    "proxy/5",   "peer/beta",
                                   "carrier", "nonsense",  ""};
  const Fd memory = CreateMemory("kept", 16384).value();
  std::vector<KeptRecord> records;
  while (!input->empty()) {
    KeptRecord record;
    record.key = kKeys[input->Below(std::size(kKeys))];
    record.value = std::string(input->Bytes(input->Below(48)));
    for (uint32_t fds = input->Below(7); fds > 0; --fds) record.fds.push_back(memory.Duplicate());
    records.push_back(std::move(record));
  }
  Vault vault(nullptr);
  Registry registry("alpha", 1, &vault, [](absl::string_view) {});
  const absl::Status status = registry.Restore(std::move(records));
  Promise(status.ok() || absl::IsDataLoss(status), "what cannot be restored is data loss");
  if (!status.ok()) return;
  registry.Begin();
  registry.SaveAll();
  registry.AddMailbox("after", MailboxOptions(), 1, 1).IgnoreError();
}

}  // namespace
}  // namespace mailrail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mailrail::NoDescriptorIsLeft none;
  mailrail::Input input(data, size);
  switch (input.Below(7)) {
    case 0:
      mailrail::ReadProcessId(input.Rest());
      break;
    case 1:
      mailrail::ReadName(input.Rest());
      break;
    case 2:
      mailrail::ReadUnits(input.Rest());
      break;
    case 3:
      mailrail::ReadSettings(input.Rest());
      break;
    case 4:
      mailrail::SetEach(input.Rest());
      break;
    case 5:
      mailrail::KeepRecords(&input);
      break;
    default:
      mailrail::Restore(&input);
  }
  return 0;
}
