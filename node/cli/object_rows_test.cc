#include "node/cli/object_rows.h"

#include <nlohmann/json.hpp>

#include "gtest/gtest.h"
#include "node/cli/nested_locks.h"

namespace mailrail::cli {
namespace {

using nlohmann::json;

void Name(int pid, proto::ProcessRef* process) {
  process->set_node("alpha");
  process->set_pid(pid);
  process->set_incarnation(static_cast<uint64_t>(pid));
}

void Add(int pid, bool shared, google::protobuf::RepeatedPtrField<control::ObjectHolder>* holders,
         uint32_t thread = 1) {
  control::ObjectHolder* const holder = holders->Add();
  Name(pid, holder->mutable_thread()->mutable_process());
  holder->mutable_thread()->set_thread(thread);
  holder->set_shared(shared);
}

control::ObjectRow* AddRow(control::Listing* listing, proto::ObjectKind kind,
                           const std::string& name) {
  control::ObjectRow* const row = listing->add_objects();
  row->mutable_spec()->set_kind(kind);
  row->set_name(name);
  return row;
}

// A mutex for each pair, which the first holds and the second waits for; of each 0 is nobody.
control::Listing Mutexes(const std::vector<std::pair<int, int>>& pairs) {
  control::Listing listing;
  for (const auto& [holder, waiter] : pairs) {
    control::ObjectRow* const row = AddRow(
        &listing, proto::MUTEX, std::string(1, static_cast<char>('a' + listing.objects_size())));
    if (holder != 0) Add(holder, false, row->mutable_holders());
    if (waiter != 0) Add(waiter, false, row->mutable_waiters());
  }
  return listing;
}

std::string Id(int pid) { return ProcessId("alpha", pid, static_cast<uint64_t>(pid)).ToString(); }

// The process 10 N + 1 is run by the lock run 10 N.
std::vector<std::string> Above(const ProcessId& process) {
  if (process.pid() % 10 == 0) return {};
  return {Id(process.pid() / 10 * 10)};
}

absl::Status Check(int who, const std::string& name, const control::Listing& objects) {
  const ProcessId id("alpha", who, static_cast<uint64_t>(who));
  return CheckNested({id, Above(id), proto::MUTEX, name, false}, objects, Above);
}

TEST(ObjectRowsTest, ObjectsAreATableOrAnArray) {
  control::Listing listing;
  control::ObjectRow* row = AddRow(&listing, proto::MUTEX, "m");
  row->set_users(2);
  Add(7, false, row->mutable_holders());
  Add(8, false, row->mutable_waiters(), 3);
  row = AddRow(&listing, proto::SHARED_MUTEX, "r");
  Add(7, true, row->mutable_holders());
  Add(8, true, row->mutable_holders());
  row = AddRow(&listing, proto::SEMAPHORE, "s");
  row->mutable_spec()->set_limit(4);
  row->set_value(3);
  row = AddRow(&listing, proto::CONDITION, "c");
  row->set_value(1);
  row = AddRow(&listing, proto::BARRIER, "b");
  row->mutable_spec()->set_limit(3);
  EXPECT_EQ(FormatObjects(listing, OutputFormat::kText),
            "KIND          NAME  STATE             PROCESSES  HELD BY                        "
            "       WAITED FOR BY\n"
            "mutex         m     held                      2  7.7@alpha                      "
            "       8.8@alpha thread 3\n"
            "shared-mutex  r     held to read, 2           0  7.7@alpha to read, 8.8@alpha to"
            " read  -\n"
            "semaphore     s     3 of 4 free               0  -                              "
            "       -\n"
            "condition     c     1 waits                   0  -                              "
            "       -\n"
            "barrier       b     0 of 3 have come          0  -                              "
            "       -\n");
  const json rows = json::parse(FormatObjects(listing, OutputFormat::kJson));
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0]["kind"], "mutex");
  EXPECT_EQ(rows[0]["held_by"][0]["process"], "7.7@alpha");
  EXPECT_EQ(rows[0]["waited_for_by"][0]["thread"], 3);
  EXPECT_EQ(rows[1]["held_by"][1]["to_read"], true);
  EXPECT_EQ(rows[2]["limit"], 4);
  EXPECT_EQ(json::parse(FormatObjects({}, OutputFormat::kJson)), json::array());
}

TEST(NestedLocksTest, OneThatWaitsForItselfIsTold) {
  const absl::Status status = Check(11, "a", Mutexes({{10, 0}}));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "this wait would never end: " + Id(11) + ", run by " + Id(10) +
                                  ", waits for mutex 'a', which " + Id(10) + " holds");
}

TEST(NestedLocksTest, TheYoungestOfACycleGivesUp) {
  const control::Listing objects = Mutexes({{10, 21}, {20, 11}});
  EXPECT_EQ(Check(21, "a", objects).message(),
            "this wait would never end: " + Id(21) + ", run by " + Id(20) +
                ", waits for mutex 'a', which " + Id(10) + " holds; " + Id(11) + ", run by " +
                Id(10) + ", waits for mutex 'b', which " + Id(20) + " holds");
  EXPECT_TRUE(Check(11, "b", objects).ok());
}

TEST(NestedLocksTest, OneThatDoesNotLookIsNotTheOneToGiveUp) {
  // 90 is no lock run's command: it has b, and waits for a.
  EXPECT_FALSE(Check(11, "b", Mutexes({{10, 90}, {90, 11}})).ok());
}

TEST(NestedLocksTest, WithoutACycleNobodyGivesUp) {
  EXPECT_TRUE(Check(11, "b", Mutexes({{10, 0}, {20, 0}})).ok());
  EXPECT_TRUE(Check(11, "b", Mutexes({{10, 21}, {30, 11}, {20, 0}})).ok());
  // What is free, or held by others who wait for each other.
  EXPECT_TRUE(Check(11, "c", Mutexes({{20, 31}, {30, 21}, {0, 0}})).ok());
  EXPECT_TRUE(Check(11, "a", Mutexes({{20, 31}, {30, 21}})).ok());
}

TEST(NestedLocksTest, ReadersDoNotWaitForReaders) {
  control::Listing objects;
  Add(10, true, AddRow(&objects, proto::SHARED_MUTEX, "r")->mutable_holders());
  const ProcessId id("alpha", 11, 11);
  LockWait wait = {id, Above(id), proto::SHARED_MUTEX, "r", true};
  EXPECT_TRUE(CheckNested(wait, objects, Above).ok());
  wait.shared = false;
  EXPECT_FALSE(CheckNested(wait, objects, Above).ok());
}

}  // namespace
}  // namespace mailrail::cli
