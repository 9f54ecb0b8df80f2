#ifndef MAILRAIL_CORE_SHM_PREFETCH_H_
#define MAILRAIL_CORE_SHM_PREFETCH_H_

namespace mailrail {

// Fetches the cache line at `address` in order to write to it, and does not wait for it. A hint;
// any address will do.
inline void PrefetchForWriting(const void* address) {
#if defined(__x86_64__)
  // What the compiler's builtin makes of this without -mprfchw only fetches for reading.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1);
#endif
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_PREFETCH_H_
