// For tests of this folder about named regions and values.
#ifndef MAILRAIL_TESTS_CONFORMANCE_REGION_FIXTURE_H_
#define MAILRAIL_TESTS_CONFORMANCE_REGION_FIXTURE_H_

#include <cstring>
#include <future>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"

namespace mailrail {

inline const absl::Status& StatusOf(const RegionResult& result) { return result.status; }

// A name, and calls of the region, and of the value, of that name by parties.
class RegionCalls {
 public:
  using Call = party::RegionCall;
  using Result = RegionResult;
  static constexpr size_t kPage = 4096;

  static Call Of(Call::What what, const std::string& name) {
    Call call;
    call.set_what(what);
    call.set_name(name);
    return call;
  }
  static Result Create(Party& party, const std::string& name, size_t bytes = kPage) {
    Call call = Of(Call::CREATE, name);
    call.set_size(bytes);
    return party.CallRegion(call);
  }
  static Result Open(Party& party, const std::string& name, bool read_only = false,
                     absl::Time deadline = Patience()) {
    Call call = Of(Call::OPEN, name);
    call.set_read_only(read_only);
    return party.CallRegion(call, deadline);
  }
  static Result Put(Party& party, const std::string& name, const std::string& bytes,
                    size_t offset = 0) {
    Call call = Of(Call::PUT, name);
    call.set_bytes(bytes);
    call.set_offset(offset);
    return party.CallRegion(call);
  }
  static Result Get(Party& party, const std::string& name, size_t size, size_t offset = 0) {
    Call call = Of(Call::GET, name);
    call.set_size(size);
    call.set_offset(offset);
    return party.CallRegion(call);
  }
  static Result Do(Party& party, const std::string& name, Call::What what) {
    return party.CallRegion(Of(what, name));
  }
  static Result WaitNewer(Party& party, const std::string& name, uint64_t version,
                          absl::Time deadline = Patience(), Call::What what = Call::WAIT_NEWER) {
    Call call = Of(what, name);
    call.set_version(version);
    return party.CallRegion(call, deadline);
  }
  static Result PublishValue(Party& party, const std::string& name, uint64_t number) {
    Call call = Of(Call::PUBLISH_VALUE, name);
    call.set_size(number);
    return party.CallRegion(call);
  }
  // What a region of so many bytes is in `version`: the number in each of its words.
  static std::string Filled(uint64_t version, size_t bytes) {
    std::string filled(bytes, '\0');
    for (size_t at = 0; at + sizeof(version) <= bytes; at += sizeof(version)) {
      std::memcpy(filled.data() + at, &version, sizeof(version));
    }
    return filled;
  }
  // Fills it with what its next version, `version`, is, and publishes.
  static Result PublishFilled(Party& party, const std::string& name, uint64_t version,
                              size_t bytes) {
    const Result put = Put(party, name, Filled(version, bytes));
    return put.status.ok() ? Do(party, name, Call::PUBLISH) : put;
  }
};

// On one node self() and peer() share memory; on two nodes self() is where regions are made.
class RegionTest : public ConformanceTest, public RegionCalls {
 protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    name_ = NewName();
  }

  // Starts to wait for a version newer than `version`, and returns when that sleeps.
  std::future<Result> BeginToWait(Party& party, uint64_t version,
                                  Call::What what = Call::WAIT_NEWER,
                                  absl::Time deadline = Patience()) {
    std::future<Result> result =
        std::async(std::launch::async, [this, &party, version, what, deadline] {
          return WaitNewer(party, name_, version, deadline, what);
        });
    EXPECT_TRUE(Eventually([&] { return party.Asleep() > 0; }));
    return result;
  }

  std::string name_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_REGION_FIXTURE_H_
