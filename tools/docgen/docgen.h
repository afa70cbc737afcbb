/* Shared by the files of docgen. */
#ifndef SB_DOCGEN_H
#define SB_DOCGEN_H

#include "core/base/buf.h"
#include "silverback/schema.h"

#include <stdio.h>

/* How many rows of all tables have no description. */
extern unsigned docgen_missing;

/* Text for a Markdown table's cell. */
void docgen_cell(FILE *f, const char *text);
/* Notes a row without a description. where: "entity services". */
void docgen_need(const char *text, const char *where, const char *name);

/* A table of fields, those of records below them with dotted names. */
void docgen_fields(FILE *f, const struct sb_field *fields, const char *where);
/* A list of what must hold between fields; nothing when there is nothing. */
void docgen_checks(FILE *f, const struct sb_entity_check *checks);
/* "string", "array of integer", … malloc'ed. */
char *docgen_type(const struct sb_field *field);

/* man.c: writes the manual pages into the folder; false: said why not. */
bool docgen_man(const char *folder);
/* The page on the Admin API. */
void docgen_admin(FILE *f);

#endif
