/* `compose` and `decompose` (columns.pxd) for as many rows at once as a vector has lanes; included for each vector unit. */
/* See natfast_compose_many: of the rows from `i` on. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(compose)(const natfast_columns *c, size_t i, uint8_t *row, uint32_t *length)
{
    const u32v zero = {0};
    u32v protocol = NATFAST_W(load8)(c->proto + i);
    lanes tcp = NATFAST_W(is)(protocol, NATFAST_IPPROTO_TCP);
    if (NATFAST_W(bits)(tcp | NATFAST_W(is)(protocol, NATFAST_IPPROTO_UDP)) != (1U << NATFAST_LANES) - 1)
        return 0;
    u32v total = NATFAST_W(max)(c->length ? NATFAST_W(load16)(c->length + i) : zero, 28 + NATFAST_W(keep)(tcp, NATFAST_W(each)(40 - 28)));
    u32v sport = c->sport ? NATFAST_W(load16)(c->sport + i) : zero, dport = c->dport ? NATFAST_W(load16)(c->dport + i) : zero;
    u32v seq = c->seq ? NATFAST_W(load)(c->seq + i) : zero, ack = c->ack ? NATFAST_W(load)(c->ack + i) : zero;
    u32v flags = c->flags ? NATFAST_W(load8)(c->flags + i) : NATFAST_W(each)(NATFAST_TCP_ACK);
    u32v window = c->window ? NATFAST_W(load16)(c->window + i) : NATFAST_W(each)(0xFFFF);
    u32v w[12] = {
        0x45 | NATFAST_W(be16)(total) << 16, zero, 64 | protocol << 8, NATFAST_W(be32)(NATFAST_W(load)(c->src + i)),
        NATFAST_W(be32)(NATFAST_W(load)(c->dst + i)), NATFAST_W(be32)(sport << 16 | dport),
        NATFAST_W(select)(tcp, NATFAST_W(be32)(seq), NATFAST_W(be16)(total - 20)), NATFAST_W(keep)(tcp, NATFAST_W(be32)(ack)),
        NATFAST_W(keep)(tcp, 0x50 | flags << 8 | NATFAST_W(be16)(window) << 16), zero, zero, zero,
    };
    uint8_t *ip[NATFAST_LANES];
    for (int k = 0; k < NATFAST_LANES; k++) {
        ip[k] = row + 64 * k + 14;
        natfast_store16(ip[k] - 2, 0x0008);
        natfast_store16(ip[k] + NATFAST_BYTES, 0);
    }
    NATFAST_W(store_columns)(ip, 0, w);
    NATFAST_W(store_columns)(ip, 16, w + 4);
    NATFAST_W(store_columns)(ip, 32, w + 8);
    NATFAST_W(store)(length, total + 14);
    return 1;
}

/* See natfast_decompose_many. */
__attribute__((target(NATFAST_TARGET)))
static uint32_t NATFAST_W(decompose)(uint8_t *row, const uint8_t *proto, uint32_t *src, uint32_t *dst, uint16_t *sport, uint16_t *dport)
{
    u32v protocol = NATFAST_W(load8)(proto), w[4];
    lanes tcp = NATFAST_W(is)(protocol, NATFAST_IPPROTO_TCP);
    if (NATFAST_W(bits)(tcp | NATFAST_W(is)(protocol, NATFAST_IPPROTO_UDP)) != (1U << NATFAST_LANES) - 1)
        return 0;
    uint8_t *ip[NATFAST_LANES];
    for (int k = 0; k < NATFAST_LANES; k++)
        ip[k] = row + 64 * k + 14;
    NATFAST_W(load_columns)(ip, 12, w);
    NATFAST_W(store)(src, NATFAST_W(be32)(w[0]));
    NATFAST_W(store)(dst, NATFAST_W(be32)(w[1]));
    u32v ports = NATFAST_W(be32)(w[2]);
    NATFAST_W(store16)(sport, ports >> 16);
    NATFAST_W(store16)(dport, ports & 0xFFFF);
    return 1;
}
