#ifndef MAILRAIL_CORE_SHM_ADAPTIVE_SPIN_H_
#define MAILRAIL_CORE_SHM_ADAPTIVE_SPIN_H_

#include <cstdint>

namespace mailrail {

// Whether one who waits should look for a while before it sleeps. Looking pays where what is
// awaited comes that soon; where it does not, as where there are more processes than processors, it
// takes the time that others need. So after some looks in vain it sleeps at once, and now and then
// tries whether that has changed. Thread-compatible.
class AdaptiveSpin {
 public:
  // To be asked before each wait.
  bool Pays() { return vain_ < kVain || ++sleeps_ % kSleepsBetween == 0; }
  // What came of it.
  void Succeeded() { vain_ = 0; }
  void Failed() { ++vain_; }

 private:
  static constexpr uint32_t kVain = 4;            // in a row, until it does not pay
  static constexpr uint32_t kSleepsBetween = 16;  // until it is tried again
  uint32_t vain_ = 0;
  uint32_t sleeps_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_ADAPTIVE_SPIN_H_
