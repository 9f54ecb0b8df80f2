#include "node/agent/vault.h"

namespace mailrail {

absl::Status Vault::Put(absl::string_view key, const google::protobuf::MessageLite& value,
                        absl::Span<const int> fds) {
  if (keeper_ == nullptr) return absl::OkStatus();
  const absl::Status status = keeper_->Put(key, value.SerializeAsString(), fds);
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;
}

absl::Status Vault::PutValue(absl::string_view key, const google::protobuf::MessageLite& value) {
  if (keeper_ == nullptr) return absl::OkStatus();
  const absl::Status status = keeper_->PutValue(key, value.SerializeAsString());
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;
}

void Vault::Drop(absl::string_view key) {
  if (keeper_ != nullptr) keeper_->Drop(key).IgnoreError();
}

}  // namespace mailrail
