/*
 * From an nginx request to the Admin functions' structs (core/admin/admin.h) and back: what the Admin API in control and the Status API in
 * the proxy have in common.
 */
#ifndef SB_ADMIN_HTTP_H
#define SB_ADMIN_HTTP_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/admin/admin.h"
#include "core/base/buf.h"

/* Once the body has been read: copies all of the request behind one another into out, where *req then points to. False: a body that was
 * put into a file cannot be read back. */
bool sb_admin_http_copy(ngx_http_request_t *r, sb_buf_t *out, sb_admin_request_t *req);
/* Sends the response, which is taken over; the result is for ngx_http_finalize_request(). */
ngx_int_t sb_admin_http_send(ngx_http_request_t *r, const sb_settings_t *settings, sb_admin_response_t *res);
/* The answer when nginx itself refused the request (too large, malformed …) and error_page led here. */
ngx_int_t sb_admin_http_refusal(ngx_http_request_t *r, const sb_settings_t *settings);

#endif
