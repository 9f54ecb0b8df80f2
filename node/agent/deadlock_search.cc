#include "node/agent/deadlock_search.h"

#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/name.h"
#include "core/process/grants.h"
#include "node/directory/unknown_name.h"

namespace mailrail {
namespace {

// So many threads are looked at in one search; a longer line of waits is not followed to its end.
constexpr size_t kMostThreads = 256;
constexpr absl::Duration kAnswers = absl::Seconds(1);

// As ProcessId::ToString, without making one: names of nodes are kept for good, and peers may say
// any.
std::string InWords(const proto::ProcessRef& process) {
  return absl::StrCat(process.pid(), ".", process.incarnation(), "@", process.node());
}

std::string InWords(const proto::ThreadRef& thread) {
  return absl::StrCat("thread ", thread.thread(), " of ", InWords(thread.process()));
}

std::string KeyOf(const proto::ThreadRef& thread) {
  return absl::StrCat(InWords(thread.process()), "/", thread.thread());
}

}  // namespace

// One search. A step of a way: a thread that waits, and for what.
struct DeadlockSearch::Run {
  struct Step {
    proto::ThreadRef who;
    proto::ThreadWait wait;
  };
  proto::ThreadRef start;
  Callback done;
  std::deque<proto::ThreadRef> next;
  std::map<std::string, Step> from;      // by whom each was reached
  std::map<std::string, Step> followed;  // those that wait
  std::vector<Step> cycle;
};

absl::optional<proto::ThreadWait> DeadlockSearch::WaitOf(const proto::ThreadRef& thread) {
  if (thread.process().node() != registry_->node()) return absl::nullopt;
  const LocalProcess* const process = registry_->FindProcess(internal::FromProto(thread.process()));
  if (process == nullptr) return absl::nullopt;
  absl::optional<proto::ThreadWait> wait = objects_->WaitOf({process->number, thread.thread()});
  if (!wait.has_value()) wait = far_objects_->WaitOf(process->number, thread.thread());
  return wait;
}

std::vector<proto::ThreadHold> DeadlockSearch::HoldersOf(const proto::HoldersOf& question) {
  std::vector<proto::ThreadHold> holders;
  const std::vector<std::string> nodes = peers_->Peers();
  const std::string& node = question.waiter().process().node();
  if (node != registry_->node() && std::find(nodes.begin(), nodes.end(), node) == nodes.end()) {
    return holders;
  }
  const ProcessId waiter = internal::FromProto(question.waiter().process());
  const LocalProcess* const process = registry_->FindProcess(waiter);
  const FarUser* const user = registry_->FindFarUser(waiter);
  const uint32_t number = process != nullptr ? process->number : user != nullptr ? user->number : 0;
  for (const Hold& hold : objects_->Blockers({number, question.waiter().thread()},
                                             question.object_id(), question.shared())) {
    proto::ThreadHold& added = holders.emplace_back();
    internal::ToProto(registry_->owner_names()->NameOf(hold.holder.number),
                      added.mutable_thread()->mutable_process());
    added.mutable_thread()->set_thread(hold.holder.thread);
    added.set_shared(hold.shared);
    if (holders.size() >= kMostThreads) break;
  }
  return holders;
}

void DeadlockSearch::AskWait(const proto::ThreadRef& thread,
                             std::function<void(const absl::optional<proto::ThreadWait>&)> done) {
  if (thread.process().node() == registry_->node()) return done(WaitOf(thread));
  proto::Request request;
  *request.mutable_wait_of() = thread;
  peers_->Call(thread.process().node(), std::move(request), absl::Now() + kAnswers,
               [done = std::move(done)](const absl::StatusOr<proto::Reply>& reply) {
                 // One that does not say is not known to wait.
                 if (!reply.ok() || !reply->has_wait()) return done(absl::nullopt);
                 done(reply->wait());
               });
}

void DeadlockSearch::AskHolders(const proto::ThreadWait& wait, const proto::ThreadRef& waiter,
                                std::function<void(const std::vector<proto::ThreadHold>&)> done) {
  proto::Request request;
  proto::HoldersOf* const question = request.mutable_holders_of();
  question->set_object_id(wait.object_id());
  question->set_shared(wait.shared());
  *question->mutable_waiter() = waiter;
  if (wait.home() == registry_->node()) return done(HoldersOf(*question));
  peers_->Call(wait.home(), std::move(request), absl::Now() + kAnswers,
               [done = std::move(done)](const absl::StatusOr<proto::Reply>& reply) {
                 if (!reply.ok()) return done({});
                 done({reply->holders().begin(), reply->holders().end()});
               });
}

void DeadlockSearch::Search(uint32_t number, uint32_t thread, Callback done) {
  const auto run = std::make_shared<Run>();
  internal::ToProto(registry_->owner_names()->NameOf(number), run->start.mutable_process());
  run->start.set_thread(thread);
  run->done = std::move(done);
  run->next.push_back(run->start);
  Next(run);
}

void DeadlockSearch::Next(const RunPtr& run) {
  if (run->next.empty() || run->followed.size() >= kMostThreads) return run->done({});
  const proto::ThreadRef thread = run->next.front();
  run->next.pop_front();
  AskWait(thread, [this, run, thread](const absl::optional<proto::ThreadWait>& wait) {
    if (!wait.has_value()) return Next(run);
    Follow(run, thread, *wait);
  });
}

void DeadlockSearch::Follow(const RunPtr& run, const proto::ThreadRef& thread,
                            const proto::ThreadWait& wait) {
  const Run::Step step = {thread, wait};
  run->followed[KeyOf(thread)] = step;
  AskHolders(wait, thread, [this, run, step](const std::vector<proto::ThreadHold>& holders) {
    const std::string start = KeyOf(run->start);
    for (const proto::ThreadHold& holder : holders) {
      const std::string key = KeyOf(holder.thread());
      if (key == start) {
        run->cycle = {step};
        while (KeyOf(run->cycle.back().who) != start) {
          run->cycle.push_back(run->from.at(KeyOf(run->cycle.back().who)));
        }
        std::reverse(run->cycle.begin(), run->cycle.end());
        return Verify(run, 0);
      }
      if (run->from.size() < kMostThreads && run->from.emplace(key, step).second) {
        run->next.push_back(holder.thread());
      }
    }
    Next(run);
  });
}

void DeadlockSearch::Verify(const RunPtr& run, size_t step) {
  if (step == run->cycle.size()) return run->done(Verdict(*run));
  AskWait(run->cycle[step].who, [this, run, step](const absl::optional<proto::ThreadWait>& wait) {
    const Run::Step& known = run->cycle[step];
    if (!wait.has_value() || wait->serial() != known.wait.serial()) return run->done({});
    AskHolders(*wait, known.who, [this, run, step](const std::vector<proto::ThreadHold>& holders) {
      const std::string next = KeyOf(run->cycle[(step + 1) % run->cycle.size()].who);
      const bool holds = std::any_of(
          holders.begin(), holders.end(),
          [&](const proto::ThreadHold& holder) { return KeyOf(holder.thread()) == next; });
      if (!holds) return run->done({});
      Verify(run, step + 1);
    });
  });
}

absl::Status DeadlockSearch::Verdict(const Run& run) const {
  const auto rank = [](const Run::Step& step) {
    return std::make_tuple(!step.wait.must(), step.wait.serial(), KeyOf(step.who));
  };
  for (const Run::Step& step : run.cycle) {
    if (rank(step) > rank(run.cycle[0])) return absl::OkStatus();
  }
  if (run.cycle[0].wait.must()) return absl::OkStatus();
  std::string words = "this wait would never end: ";
  for (size_t i = 0; i < run.cycle.size(); ++i) {
    const Run::Step& step = run.cycle[i];
    absl::StrAppend(&words, i == 0 ? "" : "; ", InWords(step.who), " waits for ",
                    KindName(step.wait.kind()), " '",
                    QualifiedName{step.wait.name(), step.wait.home()}.ToString(), "', which ",
                    InWords(run.cycle[(i + 1) % run.cycle.size()].who), " holds");
  }
  return absl::FailedPreconditionError(words);
}

}  // namespace mailrail
