// One process writes the state of a machine, a hundred thousand times; another looks at it whenever
// it likes, and never sees half of a state, nor waits for the writer but where it wants a newer
// one.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <iostream>

#include "absl/time/clock.h"
#include "mailrail/mailrail.h"

namespace {

// Fixed-width fields, no pointers: it means the same to both.
struct Position {
  int64_t x = 0;
  int64_t y = 0;
  uint32_t steps = 0;
  uint32_t done = 0;
};

absl::Status Write(mailrail::SharedValue<Position>& value) {
  Position position;
  while (position.done == 0) {
    ++position.steps;
    position.x += 3;
    position.y -= 3;
    position.done = position.steps == 5000 ? 1 : 0;
    if (absl::Status status = value.Publish(position); !status.ok()) return status;
    absl::SleepFor(absl::Microseconds(20));  // it takes its time to move
  }
  return absl::OkStatus();
}

absl::Status Follow(const mailrail::SharedValueDescriptors& descriptors) {
  const auto value = mailrail::SharedValue<Position>::FromDescriptors(descriptors);
  if (!value.ok()) return value.status();
  uint64_t seen = 0, versions = 0;
  Position position;
  while (position.done == 0) {
    const auto newer = value->WaitNewer(seen);
    if (!newer.ok()) return newer.status();
    position = newer->value;
    if (position.x + position.y != 0) return absl::DataLossError("half of a position");
    seen = newer->version;
    ++versions;
  }
  std::cout << "the last position is " << position.x << ", " << position.y << "; saw " << versions
            << " of " << seen << " versions" << std::endl;
  return absl::OkStatus();
}

// The parent writes, the child follows. Programs that are not related send each other the
// descriptors over a Unix socket.
absl::Status Run() {
  auto value = mailrail::SharedValue<Position>::CreateAnonymous();
  if (!value.ok()) return value.status();
  const absl::StatusOr<mailrail::SharedValueDescriptors> shared = value->Share();
  if (!shared.ok()) return shared.status();
  const pid_t child = fork();
  if (child == 0) return Follow(*shared);
  const absl::Status written = Write(*value);
  int followed = 1;
  if (child < 0 || waitpid(child, &followed, 0) < 0 || followed != 0) {
    return absl::InternalError("nobody has followed");
  }
  return written;
}

}  // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::cerr << "shared_value: " << status << std::endl;
  return mailrail::ExitCode(status);
}
