#include "net/health.h"

#include "base/clock.h"

#define PACE_SPAN_NS (8 * KF_NS_PER_S)
#define PACE_FIRST 64u
#define PACE_LEAST 8u /* one request a second */
#define PACE_OVER 512u

/* In hundredths of a request. */
#define REPEAT 100u
#define REPEATS_EARNED 10u /* by an answer */
#define REPEATS_LIMIT 1000u
#define REPEAT_NS (KF_NS_PER_S / 5) /* earns one */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static unsigned spent_at(const struct kf_health *health, int64_t now_ns)
{
    int64_t earned = (now_ns - health->spent_ns) / (REPEAT_NS / REPEAT);

    return earned < health->repeats_spent ? health->repeats_spent - (unsigned)earned : 0;
}

/* When the budget has one more. */
static int64_t repeat_due(const struct kf_health *health, int64_t now_ns)
{
    unsigned spent = spent_at(health, now_ns) + REPEAT;

    return spent <= REPEATS_LIMIT
               ? now_ns
               : now_ns + (int64_t)(spent - REPEATS_LIMIT) * (REPEAT_NS / REPEAT);
}

int64_t kf_health_due(const struct kf_health *health, bool again, int64_t now_ns)
{
    int64_t due = later(now_ns, health->pause_until_ns);

    if (health->pace > 0)
        due = later(due, health->next_ns);
    if (health->rest_ns > 0)
        return health->probing ? KF_NO_DEADLINE : later(due, health->rest_until_ns);
    return again ? later(due, repeat_due(health, now_ns)) : due;
}

static void spend(struct kf_health *health, int64_t now_ns)
{
    health->repeats_spent = spent_at(health, now_ns) + REPEAT;
    health->spent_ns = now_ns;
}

bool kf_health_sent(struct kf_health *health, bool again, int64_t now_ns)
{
    if (health->pace > 0)
        health->next_ns = now_ns + PACE_SPAN_NS / health->pace;
    if (health->rest_ns > 0) {
        health->probing = true;
        return true;
    }
    if (again)
        spend(health, now_ns);
    return false;
}

static void answered(struct kf_health *health, int64_t now_ns)
{
    unsigned spent = spent_at(health, now_ns);

    health->repeats_spent = spent > REPEATS_EARNED ? spent - REPEATS_EARNED : 0;
    health->spent_ns = now_ns;
    health->failures = 0;
    health->rest_ns = 0;
    if (health->pace > 0 && ++health->pace > PACE_OVER)
        health->pace = 0;
}

static void rest(struct kf_health *health, int64_t rest_ns, int64_t now_ns)
{
    health->rest_ns =
        rest_ns < KF_HEALTH_REST_LIMIT_NS ? rest_ns : KF_HEALTH_REST_LIMIT_NS;
    health->rest_until_ns = now_ns + health->rest_ns;
}

static void failed(struct kf_health *health, bool probe, int64_t now_ns)
{
    if (probe)
        rest(health, 2 * health->rest_ns, now_ns);
    if (health->rest_ns > 0)
        return; /* those that were under way when the rest began say nothing new */
    if (health->failures == 0 || now_ns - health->failed_ns > KF_HEALTH_WINDOW_NS) {
        health->failures = 0;
        health->failed_ns = now_ns;
    }
    if (++health->failures >= KF_HEALTH_FAILURES)
        rest(health, KF_HEALTH_REST_NS, now_ns);
}

/* Those that were under way together were too many once. */
static void too_many(struct kf_health *health, int64_t retry_after_ns, int64_t now_ns)
{
    int64_t pause_ns = retry_after_ns > 0 ? retry_after_ns : KF_HEALTH_PAUSE_NS;

    if (pause_ns > KF_HEALTH_PAUSE_LIMIT_NS)
        pause_ns = KF_HEALTH_PAUSE_LIMIT_NS;
    if (health->pause_until_ns <= now_ns)
        health->pace = health->pace == 0               ? PACE_FIRST
                       : health->pace > 2 * PACE_LEAST ? health->pace / 2
                                                       : PACE_LEAST;
    health->pause_until_ns = later(health->pause_until_ns, now_ns + pause_ns);
    health->failures = 0;
    health->rest_ns = 0; /* it does answer */
}

void kf_health_ended(struct kf_health *health, bool probe, enum kf_health_news news,
                     int64_t retry_after_ns, int64_t now_ns)
{
    if (probe)
        health->probing = false;
    switch (news) {
    case KF_HEALTH_ANSWER:
        answered(health, now_ns);
        break;
    case KF_HEALTH_FAILURE:
        failed(health, probe, now_ns);
        break;
    case KF_HEALTH_TOO_MANY:
        too_many(health, retry_after_ns, now_ns);
        break;
    case KF_HEALTH_NOTHING:
    default:
        break;
    }
}
