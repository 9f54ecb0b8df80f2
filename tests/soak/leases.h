#ifndef MAILRAIL_TESTS_SOAK_LEASES_H_
#define MAILRAIL_TESTS_SOAK_LEASES_H_

#include <cstdint>
#include <vector>

#include "tests/soak/deliveries.h"
#include "tests/soak/violation.h"

namespace mailrail::soak {

// Whether what became of a message of a mailbox whose receivers acknowledge by hand keeps the
// contract, which has no excuses:
//
//   lost         told, and not acknowledged; unless its receiver was killed in an acknowledgement
//   duplicate    acknowledged twice; or received while another held it, which had neither given it
//                back, nor been killed or left, nor let its lease end; or after it was acknowledged
//   mark         received unmarked after another had received it
//   status       it could not be settled, though the lease had not ended
//
// A lease may end an eighth of its time early.
void CheckLeases(const Sent& sent, int64_t lease_ns, std::vector<Violation>* violations);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_LEASES_H_
