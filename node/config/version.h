#ifndef MAILRAIL_NODE_CONFIG_VERSION_H_
#define MAILRAIL_NODE_CONFIG_VERSION_H_

namespace mailrail {

// The version of this program, as `mailrail version` and the agent tell it.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CONFIG_VERSION_H_
