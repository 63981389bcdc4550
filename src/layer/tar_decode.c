#include "layer/tar_decode.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/tar_extension.h"

/* Where the fields of a header block lie: offset and length in bytes. */
enum {
    NAME_AT = 0,
    NAME_LENGTH = 100,
    MODE_AT = 100,
    MODE_LENGTH = 8,
    SIZE_AT = 124,
    SIZE_LENGTH = 12,
    MTIME_AT = 136,
    MTIME_LENGTH = 12,
    CHECKSUM_AT = 148,
    CHECKSUM_LENGTH = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    MAGIC_LENGTH = 6,
    PREFIX_AT = 345,
    PREFIX_LENGTH = 155,
};

static const struct {
    char type;
    const char *name;
} refused_types[] = {
    {'1', "a hard link"},
    {'2', "a symbolic link"},
    {'3', "a character device"},
    {'4', "a block device"},
    {'6', "a fifo"},
    {'7', "a contiguous file"},
    {'g', "a pax global header"},
    {'S', "a sparse file"},
    {'K', "a GNU long link name"},
    {'M', "a multi-volume entry"},
    {'V', "a volume label"},
    {'D', "a GNU dump directory"},
};

void kf_tar_decoder_init(struct kf_tar_decoder *decoder, uint64_t stream_size)
{
    memset(decoder, 0, sizeof(*decoder));
    decoder->stream_size = stream_size;
}

void kf_tar_decoder_fini(struct kf_tar_decoder *decoder)
{
    if (!decoder)
        return;
    kf_tar_extension_clear(&decoder->next);
    kf_tar_extension_clear(&decoder->current);
}

static uint64_t round_up(uint64_t size)
{
    return (size + KF_TAR_BLOCK - 1) & ~(uint64_t)(KF_TAR_BLOCK - 1);
}

static bool all_zero(const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (data[i])
            return false;
    }
    return true;
}

/* GNU's binary numbers: the first byte's top bit marks them, the rest is big-endian two's
 * complement. */
static bool parse_binary(const uint8_t *field, size_t length, int64_t *ret)
{
    /* Bit 6 of the first byte is the sign; bit 7 only the mark. */
    uint8_t filler = (field[0] & 0x40) ? 0xff : 0x00;
    uint8_t first = (uint8_t)((field[0] & 0x7f) | (filler & 0x80));
    uint64_t value = filler ? UINT64_MAX : 0;

    for (size_t i = 0; i < length; i++) {
        uint8_t byte = i == 0 ? first : field[i];

        /* What is shifted out must be nothing but the sign. */
        if ((uint8_t)(value >> 56) != filler)
            return false;
        value = value << 8 | byte;
    }
    if ((value >> 63) != (filler & 1))
        return false;
    *ret = (int64_t)value;
    return true;
}

/* Octal digits, spaces or NULs around them; an empty field is 0. */
static bool parse_number(const uint8_t *field, size_t length, int64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;

    if (field[0] & 0x80)
        return parse_binary(field, length, ret);
    while (i < length && (field[i] == ' ' || field[i] == '\0'))
        i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0'); /* 12 digits at most */
    for (; i < length; i++) {
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    }
    *ret = (int64_t)value;
    return true;
}

/* The sum of all bytes, the checksum's own taken as spaces. Some old writers summed
 * signed bytes. */
static bool checksum_matches(const uint8_t *header)
{
    int64_t with_unsigned = 0, with_signed = 0, stored;

    for (size_t i = 0; i < KF_TAR_BLOCK; i++) {
        uint8_t byte = header[i];

        if (i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_LENGTH)
            byte = ' ';
        with_unsigned += byte;
        with_signed += (int8_t)byte;
    }
    return parse_number(header + CHECKSUM_AT, CHECKSUM_LENGTH, &stored) &&
           (stored == with_unsigned || stored == with_signed);
}

/* A header block with its numbers read. */
struct header {
    const uint8_t *block;
    char type;
    int64_t mode;
    int64_t size;
    int64_t mtime;
};

static int parse_header(struct header *ret, const uint8_t *block, struct kf_err *err)
{
    if (!checksum_matches(block))
        return kf_fail(err, KF_E_MALFORMED, "checksum of the header is wrong");
    ret->block = block;
    ret->type = (char)block[TYPE_AT];
    if (!parse_number(block + MODE_AT, MODE_LENGTH, &ret->mode) ||
        !parse_number(block + SIZE_AT, SIZE_LENGTH, &ret->size) ||
        !parse_number(block + MTIME_AT, MTIME_LENGTH, &ret->mtime))
        return kf_fail(err, KF_E_MALFORMED, "bad number in the header");
    if (ret->size < 0)
        return kf_fail(err, KF_E_MALFORMED, "negative size");
    return 0;
}

/* The name of an entry: an extension's, else prefix and name of the header. Only ustar
 * has a prefix; GNU keeps times there ("ustar  " is its magic). */
static void set_name(struct kf_tar_decoder *decoder, const uint8_t *block,
                     struct kf_tar_result *ret)
{
    const char *name = (const char *)block + NAME_AT;
    const char *prefix = (const char *)block + PREFIX_AT;
    size_t name_length = strnlen(name, NAME_LENGTH);
    size_t prefix_length = 0, used = 0;

    if (decoder->current.path) {
        ret->name = decoder->current.path;
        ret->name_length = decoder->current.path_length;
        return;
    }
    if (memcmp(block + MAGIC_AT, "ustar\0", MAGIC_LENGTH) == 0)
        prefix_length = strnlen(prefix, PREFIX_LENGTH);
    if (prefix_length > 0) {
        memcpy(decoder->ustar_name, prefix, prefix_length);
        decoder->ustar_name[prefix_length] = '/';
        used = prefix_length + 1;
    }
    memcpy(decoder->ustar_name + used, name, name_length);
    ret->name = decoder->ustar_name;
    ret->name_length = used + name_length;
}

static int set_type(struct kf_table_entry *entry, char type, const char *name,
                    size_t name_length, struct kf_err *err)
{
    if (type == '5') {
        entry->type = KF_TYPE_DIR;
        return 0;
    }
    if (type == '0' || type == '\0') {
        /* Before there was a type for folders, a slash marked them. */
        bool folder = name_length > 0 && name[name_length - 1] == '/';

        entry->type = folder ? KF_TYPE_DIR : KF_TYPE_FILE;
        return 0;
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(refused_types); i++) {
        if (refused_types[i].type == type)
            return kf_fail(err, KF_E_UNSUPPORTED, "it is %s", refused_types[i].name);
    }
    return kf_fail(err, KF_E_UNSUPPORTED, "unknown type 0x%02x", (unsigned char)type);
}

static int decode_entry(struct kf_tar_decoder *decoder, const struct header *header,
                        struct kf_tar_result *ret, struct kf_err *err)
{
    const struct kf_tar_extension *extension = &decoder->current;
    struct kf_table_entry *entry = &ret->entry;
    uint64_t end;

    *entry = (struct kf_table_entry){
        .offset = decoder->position + KF_TAR_BLOCK,
        .size = extension->has_size ? extension->size : (uint64_t)header->size,
        .mtime = extension->has_mtime ? extension->mtime : header->mtime,
        .mode = (uint16_t)(header->mode & 0777),
    };
    if (set_type(entry, header->type, ret->name, ret->name_length, err) != 0)
        return -1;
    if (entry->type == KF_TYPE_DIR && entry->size != 0)
        return kf_fail(err, KF_E_MALFORMED, "a folder with data");
    if (!kf_add_u64(entry->offset, entry->size, &end) || end > decoder->stream_size)
        return kf_fail(err, KF_E_MALFORMED,
                       "its %" PRIu64 " bytes reach beyond the layer", entry->size);
    if (end > UINT64_MAX - KF_TAR_BLOCK)
        return kf_fail(err, KF_E_LIMIT, "stream too long");
    decoder->position = round_up(end);
    return 0;
}

static enum kf_tar_event take_entry(struct kf_tar_decoder *decoder,
                                    const struct header *header,
                                    struct kf_tar_result *ret, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE];

    decoder->current = decoder->next;
    memset(&decoder->next, 0, sizeof(decoder->next));
    set_name(decoder, header->block, ret);
    if (decode_entry(decoder, header, ret, err) != 0) {
        (void)kf_fail_wrap(err, "entry '%s'",
                           kf_name_text(text, ret->name, ret->name_length));
        return KF_TAR_ERROR;
    }
    return KF_TAR_ENTRY;
}

/* The window that a step looks at. */
struct window {
    const uint8_t *data;
    uint64_t offset;
    size_t length;
};

/* The bytes of the stream from decoder->position on, when the window holds them all. */
static const uint8_t *find(const struct kf_tar_decoder *decoder,
                           const struct window *window, uint64_t length,
                           struct kf_tar_result *ret)
{
    uint64_t skip = decoder->position - window->offset;

    if (decoder->position >= window->offset && skip <= window->length &&
        length <= window->length - skip && window->length > 0)
        return window->data + skip;
    ret->need_offset = decoder->position;
    ret->need_length = length;
    return NULL;
}

/* 1: taken, 0: the window must hold more, -1: failed. */
static int take_extension(struct kf_tar_decoder *decoder, const struct header *header,
                          const struct window *window, struct kf_tar_result *ret,
                          struct kf_err *err)
{
    uint64_t size = (uint64_t)header->size;
    uint64_t whole = KF_TAR_BLOCK + round_up(size);
    const char *data;
    int rc;

    if (size > KF_TAR_EXTENSION_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "extension header of %" PRIu64 " bytes", size);
    if (decoder->next.seen)
        return kf_fail(err, KF_E_MALFORMED, "two extension headers for one entry");
    if (whole > decoder->stream_size - decoder->position)
        return kf_fail(err, KF_E_MALFORMED, "extension header reaches beyond the layer");
    data = (const char *)find(decoder, window, whole, ret);
    if (!data)
        return 0;
    decoder->next.seen = true;
    if (header->type == 'x')
        rc = kf_tar_parse_pax(&decoder->next, data + KF_TAR_BLOCK, size, err);
    else
        rc = kf_tar_parse_long_name(&decoder->next, data + KF_TAR_BLOCK, size, err);
    if (rc != 0)
        return -1;
    decoder->position += whole;
    return 1;
}

/* At a zero block: a second one, or the end of the stream behind it, ends the archive. */
static enum kf_tar_event take_zero_block(struct kf_tar_decoder *decoder,
                                         const struct window *window,
                                         struct kf_tar_result *ret, struct kf_err *err)
{
    uint64_t left = decoder->stream_size - decoder->position;
    uint64_t marks = left >= 2 * KF_TAR_BLOCK ? 2 * KF_TAR_BLOCK : KF_TAR_BLOCK;
    const uint8_t *blocks = find(decoder, window, marks, ret);

    if (!blocks)
        return KF_TAR_NEED;
    if (!all_zero(blocks, marks))
        return kf_fail(err, KF_E_MALFORMED, "a zero block between entries");
    if (decoder->next.seen)
        return kf_fail(err, KF_E_MALFORMED, "extension header without an entry");
    decoder->at_end = true;
    return KF_TAR_END;
}

static enum kf_tar_event at_stream_end(struct kf_tar_decoder *decoder, struct kf_err *err)
{
    if (decoder->next.seen)
        return kf_fail(err, KF_E_MALFORMED, "extension header without an entry");
    decoder->at_end = true;
    return KF_TAR_END;
}

static enum kf_tar_event step(struct kf_tar_decoder *decoder, const struct window *window,
                              struct kf_tar_result *ret, struct kf_err *err)
{
    const uint8_t *block;
    struct header header = {0};

    for (;;) {
        int taken;

        /* The last file's padding may be cut off, as kit allows it. */
        if (decoder->position >= decoder->stream_size)
            return at_stream_end(decoder, err);
        if (decoder->stream_size - decoder->position < KF_TAR_BLOCK)
            return kf_fail(err, KF_E_MALFORMED, "the layer ends inside a header");
        block = find(decoder, window, KF_TAR_BLOCK, ret);
        if (!block)
            return KF_TAR_NEED;
        if (all_zero(block, KF_TAR_BLOCK))
            return take_zero_block(decoder, window, ret, err);
        if (parse_header(&header, block, err) != 0)
            return KF_TAR_ERROR;
        if (header.type != 'x' && header.type != 'L')
            return take_entry(decoder, &header, ret, err);
        taken = take_extension(decoder, &header, window, ret, err);
        if (taken <= 0)
            return taken < 0 ? KF_TAR_ERROR : KF_TAR_NEED;
    }
}

enum kf_tar_event kf_tar_next(struct kf_tar_decoder *decoder, const uint8_t *data,
                              uint64_t offset, size_t length, struct kf_tar_result *ret,
                              struct kf_err *err)
{
    const struct window window = {data, offset, length};
    enum kf_tar_event event = KF_TAR_END;

    kf_tar_extension_clear(&decoder->current);
    if (!decoder->at_end)
        event = step(decoder, &window, ret, err);
    if (event == KF_TAR_ERROR)
        (void)kf_fail_wrap(err, "tar header at offset %" PRIu64, decoder->position);
    return event;
}

int kf_tar_entries(struct kf_tar_decoder *decoder, const uint8_t *window, uint64_t offset,
                   size_t length, kf_tar_on_entry *on_entry, void *arg,
                   struct kf_tar_result *ret, struct kf_err *err)
{
    for (;;) {
        *ret = (struct kf_tar_result){0};
        switch (kf_tar_next(decoder, window, offset, length, ret, err)) {
        case KF_TAR_END:
            return 0;
        case KF_TAR_NEED:
            return 1;
        case KF_TAR_ENTRY:
            if (on_entry(arg, ret, err) != 0)
                return -1;
            break;
        case KF_TAR_ERROR:
            return -1;
        }
    }
}
