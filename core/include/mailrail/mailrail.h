// Everything but protobuf.h.
#ifndef MAILRAIL_MAILRAIL_H_
#define MAILRAIL_MAILRAIL_H_

#include "mailrail/limits.h"
#include "mailrail/mailbox.h"
#include "mailrail/message.h"
#include "mailrail/message_queue.h"
#include "mailrail/monitor.h"
#include "mailrail/pipe.h"
#include "mailrail/process.h"
#include "mailrail/process_id.h"
#include "mailrail/receiver.h"
#include "mailrail/region.h"
#include "mailrail/sender.h"
#include "mailrail/shared_value.h"
#include "mailrail/status.h"
#include "mailrail/sync.h"
#include "mailrail/wait_set.h"

#endif  // MAILRAIL_MAILRAIL_H_
