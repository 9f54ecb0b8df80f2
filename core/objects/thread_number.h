#ifndef MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_
#define MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_

#include <cstdint>

namespace mailrail::internal {

// The number of the calling thread, once it has one.
extern constinit thread_local uint32_t thread_number;
uint32_t NewThreadNumber();

// This program's own number of the calling thread, 1 to Holder::kLargest, which no other thread has
// that lives.
inline uint32_t ThreadNumber() {
  const uint32_t number = thread_number;
  return number != 0 ? number : NewThreadNumber();
}

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_
