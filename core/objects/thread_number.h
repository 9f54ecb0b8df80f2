#ifndef MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_
#define MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_

#include <cstdint>

namespace mailrail::internal {

// This program's own number of the calling thread, 1 to Holder::kLargest, which no other thread has
// that lives.
uint32_t ThreadNumber();

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_OBJECTS_THREAD_NUMBER_H_
