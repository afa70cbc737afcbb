/* Between the two files of the OpenAPI document: openapi.c has the paths, openapi_parts.c what they refer to. */
#ifndef SB_ADMIN_OPENAPI_INT_H
#define SB_ADMIN_OPENAPI_INT_H

#include "core/admin/admin_int.h"

/* {"$ref": "#/components/<kind>/<name>"} */
json_t *sb_openapi_ref(const char *kind, const char *name);
/* The document's "components". New reference. */
json_t *sb_openapi_components(const sb_admin_t *a);
/* The schema of what a method takes; nested: under a parent, which the path names. malloc'ed. */
char *sb_openapi_body_name(const sb_entity_t *e, enum sb_admin_method m, bool nested);

#endif
