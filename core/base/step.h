// Numbered steps, at which a test can kill or stop a process: see core/shm/step.h. Without
// --config=steps all of this vanishes.
#ifndef MAILRAIL_CORE_BASE_STEP_H_
#define MAILRAIL_CORE_BASE_STEP_H_

#include <cstddef>

#ifdef MAILRAIL_STEPS

#include <cstdint>

namespace mailrail {

// Stands before what may be the last thing that a process does: a change to shared memory, a system
// call of the data path. Counts, while a thread's window is open, and calls the window's handler.
void Step();

// The same before a copy into shared memory, which may end at its beginning or half done.
void StepsOfCopy(char* to, const void* from, size_t bytes);

namespace steps {

// What happens at a step; `where` is in the code that the step stands in. Only what a signal
// handler may do.
using Handler = void (*)(const void* where);

// Opens a window for this thread: its steps count from 1, and at the step `at` (0: at none)
// `handler` is called. Other threads' steps do not count.
void Begin(uint64_t at, Handler handler);

// Closes it; returns how many steps there were.
uint64_t End();

}  // namespace steps
}  // namespace mailrail

#else

namespace mailrail {
inline void Step() {}
inline void StepsOfCopy(char*, const void*, size_t) {}
}  // namespace mailrail

#endif

#endif  // MAILRAIL_CORE_BASE_STEP_H_
