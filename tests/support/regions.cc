#include "tests/support/regions.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/support/party.h"
#include "tests/support/require.h"

namespace mailrail {

using party::RegionCall;

std::shared_ptr<SharedRegion> NamedRegions::FindRegion(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto found = regions_.find(name);
  return found == regions_.end() ? nullptr : found->second;
}

std::shared_ptr<SharedValue<TestValue>> NamedRegions::FindValue(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : found->second;
}

absl::Status NamedRegions::DoRegion(const RegionCall& call, absl::Time deadline,
                                    party::RegionResult* result) {
  std::shared_ptr<SharedRegion> region = FindRegion(call.name());
  const auto read = [&](absl::StatusOr<RegionVersion> version) {
    if (!version.ok()) return version.status();
    result->set_version(version->version);
    result->set_bytes(std::move(version->bytes));
    return absl::OkStatus();
  };
  switch (call.what()) {
    case RegionCall::CLOSE: {
      region = nullptr;
      absl::MutexLock lock(&mutex_);
      regions_.erase(call.name());
      return absl::OkStatus();
    }
    case RegionCall::DESTROY:
      return SharedRegion::Destroy(*process_, call.name(), deadline);
    case RegionCall::CREATE:
    case RegionCall::OPEN: {
      const RegionAccess access =
          call.read_only() ? RegionAccess::kReadOnly : RegionAccess::kReadWrite;
      absl::StatusOr<SharedRegion> opened =
          call.what() == RegionCall::OPEN
              ? SharedRegion::Open(*process_, call.name(), access, deadline)
              : SharedRegion::Create(*process_, call.name(), call.size(),
                                     {.exclusive = call.exclusive(), .transient = call.transient()},
                                     deadline);
      if (!opened.ok()) return opened.status();
      result->set_size(opened->size());
      result->set_replica(opened->replica());
      region = std::make_shared<SharedRegion>(*std::move(opened));
      absl::MutexLock lock(&mutex_);
      regions_[call.name()].swap(region);
      return absl::OkStatus();
    }
    case RegionCall::PUT:
      Require(region->mutable_data() != nullptr, "a region to write to");
      std::memcpy(region->mutable_data() + call.offset(), call.bytes().data(), call.bytes().size());
      return absl::OkStatus();
    case RegionCall::GET:
      Require(region->data() != nullptr, "a region to look at");
      result->set_bytes(std::string(region->data() + call.offset(), call.size()));
      return absl::OkStatus();
    case RegionCall::PUBLISH: {
      const absl::StatusOr<uint64_t> version = region->Publish();
      if (version.ok()) result->set_version(*version);
      return version.status();
    }
    case RegionCall::READ:
      return read(region->ReadVersion());
    default:
      return read(region->WaitNewer(call.version(), deadline));
  }
}

absl::Status NamedRegions::DoValue(const RegionCall& call, absl::Time deadline,
                                   party::RegionResult* result) {
  std::shared_ptr<SharedValue<TestValue>> value = FindValue(call.name());
  const auto read = [&](const absl::StatusOr<Versioned<TestValue>>& version) {
    if (!version.ok()) return version.status();
    const TestValue& words = version->value;
    result->set_version(version->version);
    result->set_size(words[0]);
    result->set_intact(std::all_of(words.begin(), words.end(),
                                   [&words](uint64_t word) { return word == words[0]; }));
    return absl::OkStatus();
  };
  switch (call.what()) {
    case RegionCall::CLOSE_VALUE: {
      value = nullptr;
      absl::MutexLock lock(&mutex_);
      values_.erase(call.name());
      return absl::OkStatus();
    }
    case RegionCall::DESTROY_VALUE:
      return SharedValue<TestValue>::Destroy(*process_, call.name(), deadline);
    case RegionCall::CREATE_VALUE:
    case RegionCall::OPEN_VALUE: {
      auto opened =
          call.what() == RegionCall::OPEN_VALUE
              ? SharedValue<TestValue>::Open(*process_, call.name(), call.schema(), deadline)
              : SharedValue<TestValue>::Create(
                    *process_, call.name(), call.schema(),
                    {.exclusive = call.exclusive(), .transient = call.transient()}, deadline);
      if (!opened.ok()) return opened.status();
      value = std::make_shared<SharedValue<TestValue>>(*std::move(opened));
      absl::MutexLock lock(&mutex_);
      values_[call.name()].swap(value);
      return absl::OkStatus();
    }
    case RegionCall::PUBLISH_VALUE: {
      TestValue words;
      words.fill(call.size());
      return value->Publish(words);
    }
    case RegionCall::READ_VALUE:
      return read(value->Read());
    default:
      return read(value->WaitNewer(call.version(), deadline));
  }
}

party::RegionResult NamedRegions::Do(const RegionCall& call, absl::Time deadline) {
  party::RegionResult result;
  *result.mutable_status() =
      ToProto(call.what() >= RegionCall::CREATE_VALUE ? DoValue(call, deadline, &result)
                                                      : DoRegion(call, deadline, &result));
  return result;
}

}  // namespace mailrail
