/*
 * The checker's ledger: what a driver did that silicon would suffer from.
 *
 * Each violation is counted, always. It is also printed, but a driver that errs once errs a million times a
 * second: the first few of each kind get a line, from then on only every power of two.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "nic.h"

#define PRINTED_ALWAYS 5

static const struct {
	const char *name, *text;
} violations[] = {
#define X(symbol, name, text) {name, text},
	NIC_VIOLATIONS(X)
#undef X
};

void nic_violate(struct nic *nic, enum nic_violation v, const char *format, ...)
{
	uint64_t count = ++nic->violation[v];
	if (count > PRINTED_ALWAYS && (count & (count - 1)))
		return;

	char details[200];
	va_list args;
	va_start(args, format);
	vsnprintf(details, sizeof details, format, args);
	va_end(args);
	fprintf(stderr, "ixy-softnic: %s: violation %s: %s (%s; number %" PRIu64 ")\n", nic->name,
		violations[v].name, details, violations[v].text, count);
}

const char *nic_violation_name(enum nic_violation v)
{
	return violations[v].name;
}

const char *nic_violation_text(enum nic_violation v)
{
	return violations[v].text;
}

uint64_t nic_violations(const struct nic *nic)
{
	uint64_t sum = 0;
	for (unsigned v = 0; v < NIC_VIOLATION_COUNT; v++)
		sum += nic->violation[v];
	return sum;
}
