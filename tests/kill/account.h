#ifndef MAILRAIL_TESTS_KILL_ACCOUNT_H_
#define MAILRAIL_TESTS_KILL_ACCOUNT_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mailrail {

// What processes hold: descriptors, mappings of shared memory, and the memory itself.
struct Account {
  struct Of {
    size_t descriptors = 0;
    size_t mappings = 0;
    friend bool operator==(const Of&, const Of&) = default;
  };
  struct Memory {
    std::string name;
    uint64_t bytes = 0;  // that are there, not the size of a sparse file
  };

  std::vector<Of> processes;
  std::map<ino_t, Memory> memories;  // that any of the processes has open or mapped

  // Takes stock of `pids`.
  static Account Take(const std::vector<pid_t>& pids);

  // What there is more or less of than in `before`; empty when they are equal. Memory that was
  // there before may have been used since.
  std::string Difference(const Account& before) const;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_ACCOUNT_H_
