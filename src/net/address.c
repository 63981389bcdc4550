#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/url.h"

void kf_address_found(struct kf_address *address, const char *text)
{
    size_t size = strlen(text) + 1;

    if (size > 1 && size <= sizeof(address->text))
        memcpy(address->text, text, size);
}

bool kf_address_lost(struct kf_address *address, int64_t now_ns)
{
    bool was_used = address->use_until_ns > now_ns;

    if (!address->text[0])
        return false;
    address->use_until_ns = now_ns + KF_ADDRESS_USE_NS;
    return !was_used;
}

void kf_address_dead(struct kf_address *address)
{
    address->use_until_ns = 0;
}

const char *kf_address_to_use(const struct kf_address *address, int64_t now_ns)
{
    return address->use_until_ns > now_ns ? address->text : NULL;
}

bool kf_address_is_literal(const char *origin)
{
    const char *host = kf_url_origin_host(origin);
    size_t length = strcspn(host, ":");
    char text[KF_ADDRESS_SIZE];
    struct in_addr address;

    if (host[0] == '[')
        return true;
    if (length >= sizeof(text))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1;
}

char *kf_address_line(const char *origin, const char *text)
{
    const char *host = kf_url_origin_host(origin), *colon = strchr(host, ':');
    const char *port = colon ? colon + 1 : kf_url_origin_is_tls(origin) ? "443" : "80";
    int length = (int)(colon ? (size_t)(colon - host) : strlen(host));
    bool v6 = text && strchr(text, ':');
    char *line;

    if (kf_address_is_literal(origin) ||
        asprintf(&line, "%s%.*s:%s%s%s%s%s", text ? "+" : "-", length, host, port,
                 text ? ":" : "", v6 ? "[" : "", text ? text : "", v6 ? "]" : "") < 0)
        return NULL;
    return line;
}
