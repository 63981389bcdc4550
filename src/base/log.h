/*
 * Log lines: one event, one line, on stderr or to the keeper's descriptor. Any thread; a
 * line is written by one write(2), never blocks for another (a full pipe drops the line;
 * the next one that fits is preceded by one that counts). Library code logs only what no
 * caller can report; pure modules never log. Secrets and signed URLs never reach a log.
 *
 *     kf_log(KF_LOG_INFO, "fetch", "event=slow host=%s age_ms=%lld", host, age);
 */
#ifndef KF_BASE_LOG_H
#define KF_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;

/* In text: "kitfs: LEVEL MODULE: MESSAGE"; in JSON an object a line with time (seconds
 * since the epoch), level, module and message. A message is cut at 1023 bytes; it stays
 * one line whatever it holds. */
enum kf_log_level { KF_LOG_ERROR, KF_LOG_WARN, KF_LOG_INFO, KF_LOG_DEBUG };
enum kf_log_format { KF_LOG_TEXT, KF_LOG_JSON };

/* Once, before there are other threads; so is kf_log_debug. Until then warnings and
 * errors go to stderr as text. */
void kf_log_setup(enum kf_log_level level, enum kf_log_format format, int fd);
/* Comma-separated modules whose debug lines are written whatever the level; "all" for
 * all. For --debug and KITFS_DEBUG. An unknown module is KF_E_ARG, and nothing changes.
 */
int kf_log_debug(const char *modules, struct kf_err *err);
int kf_log_parse_level(const char *text, enum kf_log_level *ret, struct kf_err *err);
bool kf_log_enabled(enum kf_log_level level, const char *module);
void kf_log(enum kf_log_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* At most `burst` true answers a `period_ns`; then one more that says how many were left
 * out. Static storage, zero-initialised; any thread. */
struct kf_log_rate {
    int64_t period_start_ns;
    uint32_t used;
    uint32_t dropped;
};
bool kf_log_allowed(struct kf_log_rate *rate, uint32_t burst, int64_t period_ns,
                    uint32_t *ret_dropped);

#endif
