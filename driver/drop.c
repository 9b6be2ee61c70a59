/*
 * The names and explanations of the drop reasons, out of the one list in drop.h.
 */
#include "driver/drop.h"

#include <stddef.h>

static const struct {
	const char *name, *text;
} reasons[IXY_DROP_COUNT] = {
#define X(symbol, n, t) [IXY_DROP_##symbol] = {n, t},
	IXY_DROP_REASONS(X)
#undef X
};

const char *ixy_drop_name(enum ixy_drop reason)
{
	return (unsigned)reason < IXY_DROP_COUNT ? reasons[reason].name : NULL;
}

const char *ixy_drop_text(enum ixy_drop reason)
{
	return (unsigned)reason < IXY_DROP_COUNT ? reasons[reason].text : NULL;
}
