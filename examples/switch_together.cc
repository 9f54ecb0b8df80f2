// All hosts switch to a new release together, or none does. Each runs this; whoever has prepared
// waits at a barrier for the others. A host that cannot prepare, or dies, does not come; then the
// others give up at the deadline, and undo.
//
//   switch_together release-7@alpha 3 60 './fetch 7 && ./check 7' './activate 7' './remove 7'
#include <stdlib.h>

#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

bool Run(const char* command) { return system(command) == 0; }

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::cerr << "usage: switch_together NAME@NODE HOSTS SECONDS PREPARE SWITCH UNDO" << std::endl;
    return 2;
  }
  const auto hosts = static_cast<uint32_t>(atoi(argv[2]));
  const absl::Time deadline = absl::Now() + absl::Seconds(atoi(argv[3]));
  auto process = mailrail::Process::Attach();
  if (!process.ok()) return Fail(process.status());
  auto barrier = mailrail::Barrier::Open(*process, argv[1], hosts, {.transient = true});
  if (!barrier.ok()) return Fail(barrier.status());
  if (!Run(argv[4])) {
    std::cout << "not prepared: nobody switches" << std::endl;
    return 1;
  }
  std::cout << "prepared; waiting for " << hosts << " hosts" << std::endl;
  const absl::StatusOr<uint32_t> all = barrier->Wait(deadline);
  if (!all.ok()) {
    std::cout << "not all have come: " << all.status().message() << std::endl;
    Run(argv[6]);
    return 1;
  }
  std::cout << "all are prepared: switching" << std::endl;
  return Run(argv[5]) ? 0 : 1;
}
