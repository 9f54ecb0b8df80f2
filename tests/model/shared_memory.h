#ifndef MAILRAIL_TESTS_MODEL_SHARED_MEMORY_H_
#define MAILRAIL_TESTS_MODEL_SHARED_MEMORY_H_

#include <cstddef>

namespace mailrail::model {

// `bytes` of zeros, until the run of the scenario has ended; each run gets the same addresses.
char* SharedBytes(size_t bytes);

// Memory of the threads of a scenario, all zeros.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(SharedBytes(bytes)) {}
  char* data() const { return bytes_; }

 private:
  char* const bytes_;
};

}  // namespace mailrail::model

#endif  // MAILRAIL_TESTS_MODEL_SHARED_MEMORY_H_
