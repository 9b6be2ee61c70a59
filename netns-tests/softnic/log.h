/* Messages for people, on stderr, one line each: "ixy-softnic: OBJECT: cause". */
#ifndef SOFTNIC_LOG_H
#define SOFTNIC_LOG_H

enum log_level {
	LOG_LEVEL_ERROR, /* somebody has to do something */
	LOG_LEVEL_INFO,  /* clients and carriers that come and go; the default */
	LOG_LEVEL_DEBUG, /* each message of a client */
};

/* Messages above this level are not printed. */
void softnic_log_level(enum log_level level);

void softnic_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void softnic_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void softnic_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
