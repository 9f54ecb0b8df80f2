// Nobody writes another's lane: not through the descriptor that was granted for reading it, nor
// through what can be reached from that, or from the owner, in /proc.
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tests/fault/one_agent.h"
#include "tests/support/worker_party.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace mailrail {
namespace {

using ::testing::IsEmpty;

constexpr size_t kPage = 4096;
constexpr uid_t kNobody = 65534;

// Whether a page of `fd` can be written through a mapping.
bool MapsForWriting(int fd) {
  void* const page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return false;
  munmap(page, kPage);
  return true;
}

// Whether a mapping for reading can be made one for writing.
bool MappingBecomesWritable(int fd) {
  void* const page = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return false;
  const bool writable = mprotect(page, kPage, PROT_READ | PROT_WRITE) == 0;
  munmap(page, kPage);
  return writable;
}

// Which ways there are to change the memory behind `fd` with this descriptor; there should be none.
std::vector<std::string> WaysToWrite(int fd) {
  const std::map<std::string, std::function<bool()>> attempts = {
      {"pwrite", [fd] { return pwrite(fd, "x", 1, 0) == 1; }},
      {"write", [fd] { return write(fd, "x", 1) == 1; }},
      {"mmap", [fd] { return MapsForWriting(fd); }},
      {"mprotect", [fd] { return MappingBecomesWritable(fd); }},
      {"ftruncate to less", [fd] { return ftruncate(fd, kPage) == 0; }},
      {"ftruncate to more", [fd] { return ftruncate(fd, off_t{1} << 40) == 0; }},
      {"fallocate", [fd] { return fallocate(fd, 0, 0, kPage) == 0; }},
      {"fallocate beyond", [fd] { return fallocate(fd, 0, off_t{1} << 40, kPage) == 0; }},
      {"punching a hole",
       [fd] { return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage) == 0; }},
  };
  std::vector<std::string> ways;
  for (const auto& [name, attempt] : attempts) {
    if (attempt()) ways.push_back(name);
  }
  return ways;
}

// The same with the file behind `path`, opened anew.
std::vector<std::string> WaysToWriteReopened(const std::string& path) {
  std::vector<std::string> ways;
  for (const int flags : {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC}) {
    const Fd fd(open(path.c_str(), flags | O_CLOEXEC));
    if (!fd.valid()) continue;
    for (const std::string& way : WaysToWrite(fd.get())) {
      // Where it has room already, this changes nothing, and a full ring is the owner's own.
      if (way != "fallocate") ways.push_back(path + ": " + way);
    }
  }
  return ways;
}

// And with whatever gives more to who may change the file's mode.
std::vector<std::string> AllWays(int fd) {
  std::vector<std::string> ways = WaysToWrite(fd);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  for (int round = 0; round < 2; ++round) {
    for (std::string& way : WaysToWriteReopened(path)) ways.push_back(std::move(way));
    fchmod(fd, 0666);
  }
  return ways;
}

// Which seals could be added; none should.
std::vector<int> SealsToAdd(int fd) {
  std::vector<int> added;
  for (const int seal : {F_SEAL_SEAL, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE}) {
    if (fcntl(fd, F_ADD_SEALS, seal) == 0) added.push_back(seal);
  }
  return added;
}

// Runs `find` as another user, without privileges, who has this process's descriptors; what it has
// found. As the same user where there are no privileges to give up.
std::vector<std::string> AsAnother(const std::function<std::vector<std::string>()>& find) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    if (geteuid() == 0 &&
        (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
         setresuid(kNobody, kNobody, kNobody) != 0)) {
      _exit(2);
    }
    for (const std::string& way : find()) {
      if (write(writing.get(), (way + "\n").c_str(), way.size() + 1) < 0) _exit(3);
    }
    _exit(0);
  }
  writing.Reset();
  std::string all;
  char buffer[1024];
  for (ssize_t got; (got = read(reading.get(), buffer, sizeof(buffer))) > 0;) {
    all.append(buffer, static_cast<size_t>(got));
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  return all.empty() ? std::vector<std::string>() : std::vector<std::string>{all};
}

// The memory that /proc/PID/fd leads to.
std::vector<std::string> MemoryOf(pid_t pid) {
  std::vector<std::string> paths;
  std::error_code error;
  const std::filesystem::path folder = "/proc/" + std::to_string(pid) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.find("/memfd:") == 0) paths.push_back(entry.path());
  }
  return paths;
}

bool IsSealed(int fd) { return (fcntl(fd, F_GET_SEALS) & F_SEAL_FUTURE_WRITE) != 0; }

// The owner is a process of its own, and uses the library; this one speaks to the agent by hand, as
// somebody would who is after the owner's lanes.
class ForeignMemoryTest : public OneAgentTest {
 protected:
  void SetUp() override {
    OneAgentTest::SetUp();
    auto owner = WorkerParty::Start(cluster_->Socket("alpha"), nullptr);
    ASSERT_TRUE(owner.ok()) << owner.status();
    owner_ = *std::move(owner);
    socket_ = Connect();
    me_ = Take(AttachRequest()).response().attached();
  }

  // Asks, if there is something to ask, and takes the next that comes; its descriptors go into
  // `fds_`.
  control::ToProcess Take(const control::Request& request = {}) {
    if (request.call_case() != control::Request::CALL_NOT_SET) {
      EXPECT_TRUE(SendPacket(socket_.get(), request.SerializeAsString()).ok());
    }
    absl::StatusOr<Packet> packet = ReceivePacket(socket_.get(), true);
    EXPECT_TRUE(packet.ok()) << packet.status();
    control::ToProcess message;
    EXPECT_TRUE(packet.ok() && message.ParseFromString(packet->bytes));
    fds_ = std::move(packet->fds);
    return message;
  }

  // The descriptors of the owner's link to this process, once the owner has sent on it: own memory,
  // the owner's, control, bell, gate.
  std::vector<Fd> LinkOfTheOwner() {
    const ProcessId me(me_.process().node(), me_.process().pid(), me_.process().incarnation());
    const absl::StatusOr<Handle> sender = owner_->Connect(me);
    EXPECT_TRUE(sender.ok()) << sender.status();
    EXPECT_TRUE(owner_->Send(*sender, {{.number = 1, .bytes = 1000}}).status.ok());
    EXPECT_TRUE(Take().notice().has_link_joined());
    EXPECT_EQ(fds_.size(), 5u);
    return std::move(fds_);
  }

  // The descriptors of the owner's lane to a mailbox that this process receives from: data, state.
  std::vector<Fd> LaneOfTheOwner() {
    EXPECT_TRUE(owner_->CreateMailbox("q").ok());
    const absl::StatusOr<Handle> sender = owner_->ConnectMailbox("q");
    EXPECT_TRUE(sender.ok()) << sender.status();
    EXPECT_TRUE(owner_->Send(*sender, {{.number = 1, .bytes = 1000}}).status.ok());
    control::Request open;
    open.set_id(2);
    open.mutable_open_mailbox()->set_name("q");
    EXPECT_TRUE(Take(open).notice().has_lane_joined());
    EXPECT_EQ(fds_.size(), 2u);
    return std::move(fds_);
  }

  // Tries everything, as this user and as another, and looks whether a byte has changed.
  void ExpectNoWayToWrite(int fd) {
    ASSERT_TRUE(IsSealed(fd));
    struct stat before;
    ASSERT_EQ(fstat(fd, &before), 0);
    const size_t looked_at = std::min<size_t>(static_cast<size_t>(before.st_size), 1 << 20);
    void* const memory = mmap(nullptr, looked_at, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(memory, MAP_FAILED);
    const std::string bytes(static_cast<const char*>(memory), looked_at);
    EXPECT_NE(bytes.find_first_not_of('\0'), std::string::npos);
    EXPECT_THAT(AsAnother([fd] { return AllWays(fd); }), IsEmpty());
    EXPECT_THAT(AllWays(fd), IsEmpty());
    EXPECT_THAT(SealsToAdd(fd), IsEmpty());
    struct stat after;
    ASSERT_EQ(fstat(fd, &after), 0);
    EXPECT_EQ(before.st_size, after.st_size);
    EXPECT_TRUE(std::memcmp(memory, bytes.data(), looked_at) == 0);
    munmap(memory, looked_at);
  }

  std::unique_ptr<WorkerParty> owner_;
  Fd socket_;
  control::Attached me_;
  std::vector<Fd> fds_;
};

// So that those below do not succeed for want of trying.
TEST(WaysToWriteTest, EachOfThemWorksOnMemoryThatNobodyProtects) {
  const Fd memory(static_cast<int>(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  ASSERT_EQ(ftruncate(memory.get(), 2 * kPage), 0);
  ASSERT_EQ(fchmod(memory.get(), 0666), 0);
  const int fd = memory.get();
  EXPECT_EQ(WaysToWrite(fd).size(), 9u);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_EQ(WaysToWriteReopened(path).size(), 3u * 8u - 2u);  // not mapped by who may only write
  EXPECT_FALSE(AsAnother([&] { return WaysToWriteReopened(path); }).empty());
  EXPECT_EQ(SealsToAdd(fd).size(), 1u);  // after F_SEAL_SEAL none
}

TEST_F(ForeignMemoryTest, APeersSideOfALinkCannotBeWrittenByItsReceiver) {
  const std::vector<Fd> link = LinkOfTheOwner();
  ASSERT_EQ(link.size(), 5u);
  ExpectNoWayToWrite(link[1].get());
  ExpectUnharmed();
}

TEST_F(ForeignMemoryTest, ASendersLaneToAMailboxCannotBeWrittenByItsReceivers) {
  const std::vector<Fd> lane = LaneOfTheOwner();
  ASSERT_EQ(lane.size(), 2u);
  ExpectNoWayToWrite(lane[0].get());
  ExpectUnharmed();
}

TEST_F(ForeignMemoryTest, WhatTheAgentAndTheReceiverSayCannotBeWrittenByAnotherUser) {
  const std::vector<Fd> link = LinkOfTheOwner();
  ASSERT_EQ(link.size(), 5u);
  // Control and bell of the owner's inbox; the gate everybody writes.
  for (const size_t which : {2u, 3u}) {
    const int fd = link[which].get();
    EXPECT_THAT(WaysToWrite(fd), IsEmpty());
    EXPECT_THAT(AsAnother([fd] { return AllWays(fd); }), IsEmpty());
    EXPECT_THAT(SealsToAdd(fd), IsEmpty());
  }
  ExpectUnharmed();
}

TEST_F(ForeignMemoryTest, AnOwnerHasNoDescriptorOfItsLanesThatCouldBeOpenedInProc) {
  LinkOfTheOwner();
  LaneOfTheOwner();
  EXPECT_THAT(MemoryOf(owner_->pid()), IsEmpty());
}

TEST_F(ForeignMemoryTest, NoDescriptorOfTheAgentOrItsKeeperLeadsAnotherUserToALane) {
  LinkOfTheOwner();
  LaneOfTheOwner();
  for (const pid_t pid : {cluster_->Proper("alpha"), cluster_->Agent("alpha").pid()}) {
    const std::vector<std::string> paths = MemoryOf(pid);
    EXPECT_GT(paths.size(), 10u);
    // Who may not trace a process does not even see where its descriptors lead.
    EXPECT_THAT(AsAnother([&] {
                  std::vector<std::string> opened;
                  for (const std::string& path : paths) {
                    for (const int flags : {O_RDONLY, O_RDWR}) {
                      if (geteuid() == kNobody && open(path.c_str(), flags) >= 0) {
                        opened.push_back(path);
                      }
                    }
                  }
                  return opened;
                }),
                IsEmpty());
  }
  ExpectUnharmed();
}

TEST_F(ForeignMemoryTest, NoDescriptorOfTheAgentOrItsKeeperGivesItsOwnUserALaneToWrite) {
  LinkOfTheOwner();
  LaneOfTheOwner();
  for (const pid_t pid : {cluster_->Proper("alpha"), cluster_->Agent("alpha").pid()}) {
    int sealed = 0;
    for (const std::string& path : MemoryOf(pid)) {
      const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!fd.valid() || !IsSealed(fd.get())) continue;
      ++sealed;
      EXPECT_THAT(WaysToWriteReopened(path), IsEmpty());
    }
    // The owner's side of its link, and its lane to the mailbox.
    EXPECT_GE(sealed, 2);
  }
  ExpectUnharmed();
}

TEST_F(ForeignMemoryTest, WhatWasTriedDoesNotHoldUpTheOwner) {
  const std::vector<Fd> lane = LaneOfTheOwner();
  ASSERT_EQ(lane.size(), 2u);
  (void)AllWays(lane[0].get());
  const absl::StatusOr<Handle> receiver = owner_->OpenMailbox("q");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const ReceiveResult received = owner_->Receive(*receiver, 1);
  ASSERT_TRUE(received.status.ok()) << received.status;
  EXPECT_TRUE(received.messages[0].intact);
}

}  // namespace
}  // namespace mailrail
