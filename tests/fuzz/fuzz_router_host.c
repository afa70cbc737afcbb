/*
 * Fuzz target: the first line is a Host header, the rest a host pattern of a route. Taking them apart stays inside the text, a port is what
 * stands there, and a plain pattern matches the very host it was made of.
 */
#include "fuzz.h"

#include "core/router/router_int.h"

static void
check_split(sb_str_t host)
{
    uint16_t port = 7;
    sb_str_t name = sb_router_split_port(host, &port);

    if (name.len > host.len || (name.len != 0 && name.data != host.data))
        abort();
    if (name.len == host.len && port != 7)
        abort();
    if (name.len < host.len) {
        char *digits = sb_strdup_len(host.data + name.len + 1, host.len - name.len - 1);
        if (host.data[name.len] != ':' || strtoul(digits, NULL, 10) != port)
            abort();
        free(digits);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t pattern = {(const char *)data, size}, host = fuzz_line(&pattern);
    struct name_pattern p, sni;
    uint16_t port = 0;

    check_split(host);
    name_pattern_parse(pattern, true, &p);
    if (p.text.len > pattern.len)
        abort();
    if (p.form == FORM_EXACT && !name_pattern_matches(&p, p.text))
        abort();
    name_pattern_matches(&p, sb_router_split_port(host, &port));
    sni_pattern_parse(pattern, &sni);
    name_pattern_matches(&sni, host);
    return 0;
}
