#ifndef MAILRAIL_NODE_AGENT_VAULT_H_
#define MAILRAIL_NODE_AGENT_VAULT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/message_lite.h"
#include "node/keeper/store.h"

namespace mailrail {

// The keeper's store, as the agent uses it. While there is no keeper (it was killed, and another is
// being started) what is put is not kept, and everything is put again afterwards.
//
// One thread at a time.
class Vault {
 public:
  explicit Vault(std::unique_ptr<KeeperClient> keeper) : keeper_(std::move(keeper)) {}

  // kResourceExhausted when the keeper has no room for the descriptors.
  absl::Status Put(absl::string_view key, const google::protobuf::MessageLite& value,
                   absl::Span<const int> fds);
  // Replaces the value of a record and keeps its descriptors. kInvalidArgument when it is larger
  // than the keeper takes (the record is then as before); kNotFound when there is no such record.
  absl::Status PutValue(absl::string_view key, const google::protobuf::MessageLite& value);
  void Drop(absl::string_view key);

  // May be null: an agent without a keeper.
  KeeperClient* keeper() const { return keeper_.get(); }
  void Replace(std::unique_ptr<KeeperClient> keeper) { keeper_ = std::move(keeper); }

 private:
  std::unique_ptr<KeeperClient> keeper_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_VAULT_H_
