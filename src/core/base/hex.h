/* Hexadecimal digits. */
#ifndef SB_HEX_H
#define SB_HEX_H

/* What a hexadecimal digit of either case counts; -1: it is none. */
static inline int
sb_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
