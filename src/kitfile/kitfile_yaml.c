#include "kitfile/kitfile_yaml.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/yaml_scalar.h"

/* What an alias costs is known when its anchor is: nothing is copied before it is
 * counted. */
struct anchor {
    char *name;
    struct kf_value value;
    size_t values, text;
    unsigned height; /* how deep it is nested by itself */
};

struct loader {
    yaml_parser_t parser;
    struct anchor *anchors;
    size_t anchor_count;
    size_t values, text; /* made so far */
};

static int at(struct kf_err *err, const yaml_mark_t *mark, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "line %zu, column %zu: %s", mark->line + 1,
                   mark->column + 1, what);
}

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
}

static int count(struct loader *loader, size_t values, size_t text, struct kf_err *err)
{
    if (values > KF_YAML_VALUES - loader->values)
        return kf_fail(err, KF_E_LIMIT, "more than %u values", KF_YAML_VALUES);
    if (text > KF_YAML_TEXT - loader->text)
        return kf_fail(err, KF_E_LIMIT, "more than %zu bytes of text", KF_YAML_TEXT);
    loader->values += values;
    loader->text += text;
    return 0;
}

static int next_event(struct loader *loader, yaml_event_t *ret, struct kf_err *err)
{
    const yaml_parser_t *parser = &loader->parser;

    if (yaml_parser_parse(&loader->parser, ret))
        return 0;
    if (parser->error == YAML_MEMORY_ERROR)
        return no_memory(err);
    if (parser->error == YAML_READER_ERROR)
        return kf_fail(err, KF_E_MALFORMED, "byte %zu: %s", parser->problem_offset + 1,
                       parser->problem);
    return at(err, &parser->problem_mark, parser->problem ? parser->problem : "not YAML");
}

/* --- anchors --- */

static unsigned height_of(const struct kf_value *value)
{
    unsigned highest = 0;

    for (size_t i = 0; i < value->count; i++) {
        unsigned height = height_of(&value->items[i]) + 1;

        highest = height > highest ? height : highest;
    }
    return highest;
}

static int keep_anchor(struct loader *loader, const char *name,
                       const struct kf_value *value, size_t values, size_t text,
                       struct kf_err *err)
{
    struct anchor *grown, *anchor;

    if (loader->anchor_count == KF_YAML_ANCHORS)
        return kf_fail(err, KF_E_LIMIT, "more than %u anchors", KF_YAML_ANCHORS);
    if (count(loader, values, text, err) != 0)
        return -1;
    grown =
        reallocarray(loader->anchors, loader->anchor_count + 1, sizeof(*loader->anchors));
    if (!grown)
        return no_memory(err);
    loader->anchors = grown;
    anchor = &grown[loader->anchor_count];
    *anchor = (struct anchor){
        .name = strdup(name), .values = values, .text = text, .height = height_of(value)};
    if (!anchor->name)
        return no_memory(err);
    loader->anchor_count++;
    return kf_value_copy(&anchor->value, value, err);
}

/* The last anchor of a name counts; one that is still open is not there yet. */
static int load_alias(struct loader *loader, struct kf_value *value,
                      const yaml_event_t *event, unsigned depth, struct kf_err *err)
{
    const char *name = (const char *)event->data.alias.anchor;

    for (size_t i = loader->anchor_count; i > 0; i--) {
        const struct anchor *anchor = &loader->anchors[i - 1];

        if (strcmp(anchor->name, name) != 0)
            continue;
        if (depth + anchor->height > KF_YAML_DEPTH)
            return at(err, &event->start_mark, "nested too deeply");
        if (count(loader, anchor->values, anchor->text, err) != 0)
            return -1;
        return kf_value_copy(value, &anchor->value, err);
    }
    return at(err, &event->start_mark, "an alias of no anchor");
}

/* --- scalars --- */

static bool is_tag(const yaml_char_t *tag, const char *wanted)
{
    return tag && strcmp((const char *)tag, wanted) == 0;
}

static int load_scalar(struct loader *loader, struct kf_value *value,
                       const yaml_event_t *event, struct kf_err *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    const yaml_char_t *tag = event->data.scalar.tag;

    if (memchr(text, '\0', length))
        return at(err, &event->start_mark, "a NUL character");
    if (tag && !is_tag(tag, YAML_STR_TAG) && !is_tag(tag, "!"))
        return at(err, &event->start_mark, "a tag that a Kitfile cannot have");
    if (count(loader, 0, length, err) != 0 ||
        kf_value_set_text(value, text, length, err) != 0)
        return -1;
    return !is_tag(tag, YAML_STR_TAG) &&
                   event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
               ? kf_yaml_resolve(value, err)
               : 0;
}

/* --- lists and maps --- */

static int load_event(struct loader *loader, struct kf_value *value,
                      const yaml_event_t *event, unsigned depth, struct kf_err *err);

static int load_next(struct loader *loader, struct kf_value *value, unsigned depth,
                     struct kf_err *err)
{
    kf_auto(yaml_event_delete) yaml_event_t event = {0};

    if (next_event(loader, &event, err) != 0)
        return -1;
    return load_event(loader, value, &event, depth, err);
}

static int load_list(struct loader *loader, struct kf_value *value,
                     const yaml_event_t *start, unsigned depth, struct kf_err *err)
{
    const yaml_char_t *tag = start->data.sequence_start.tag;

    if (tag && !is_tag(tag, YAML_SEQ_TAG))
        return at(err, &start->start_mark, "a tag that a Kitfile cannot have");
    value->kind = KF_VALUE_LIST;
    for (;;) {
        kf_auto(yaml_event_delete) yaml_event_t event = {0};
        struct kf_value *item;

        if (next_event(loader, &event, err) != 0)
            return -1;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        item = kf_value_append(value, NULL, err);
        if (!item || load_event(loader, item, &event, depth + 1, err) != 0)
            return -1;
    }
}

static int by_name(const void *name, const void *key)
{
    return strcmp(name, *(char *const *)key);
}

/* Adds what `from` has and the sorted `map` has not. */
static int merge_map(struct kf_value *map, const struct kf_value *from,
                     struct kf_err *err)
{
    size_t own = map->count;

    for (size_t i = 0; i < from->count; i++) {
        struct kf_value *item;

        if (own > 0 &&
            bsearch(from->keys[i], map->keys, own, sizeof(*map->keys), by_name))
            continue;
        item = kf_value_append(map, from->keys[i], err);
        if (!item || kf_value_copy(item, &from->items[i], err) != 0)
            return -1;
    }
    return kf_value_sort(map, err);
}

/* `<<`: a map or a list of maps; what stands in the map itself wins, then the first. */
static int merge(struct kf_value *map, const struct kf_value *from, struct kf_err *err)
{
    const struct kf_value *maps = from->kind == KF_VALUE_LIST ? from->items : from;
    size_t map_count = from->kind == KF_VALUE_LIST ? from->count : 1;

    for (size_t i = 0; i < map_count; i++) {
        if (maps[i].kind != KF_VALUE_MAP)
            return kf_fail(err, KF_E_MALFORMED,
                           "line %u, column %u: only maps can be merged", from->line,
                           from->column);
        if (merge_map(map, &maps[i], err) != 0)
            return -1;
    }
    return 0;
}

static int finish_map(struct kf_value *map, const struct kf_value *merged,
                      struct kf_err *err)
{
    if (kf_value_sort(map, err) != 0)
        return -1;
    for (size_t i = 1; i < map->count; i++)
        if (strcmp(map->keys[i - 1], map->keys[i]) == 0)
            return kf_fail(err, KF_E_MALFORMED,
                           "line %u, column %u: key '%s' is there already",
                           map->items[i].line, map->items[i].column, map->keys[i]);
    return merged->kind == KF_VALUE_NULL ? 0 : merge(map, merged, err);
}

static int load_pairs(struct loader *loader, struct kf_value *map,
                      struct kf_value *merged, unsigned depth, struct kf_err *err)
{
    for (;;) {
        kf_auto(yaml_event_delete) yaml_event_t event = {0};
        kf_auto(kf_value_fini) struct kf_value key = {0};
        struct kf_value *item = merged;

        if (next_event(loader, &event, err) != 0)
            return -1;
        if (event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (load_event(loader, &key, &event, depth + 1, err) != 0)
            return -1;
        if (key.kind != KF_VALUE_TEXT)
            return at(err, &event.start_mark, "a key that is not text");
        if (event.type != YAML_SCALAR_EVENT || strcmp(key.text, "<<") != 0 ||
            event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
            item = kf_value_append(map, key.text, err);
        else if (merged->kind != KF_VALUE_NULL)
            return at(err, &event.start_mark, "key '<<' is there already");
        if (!item || load_next(loader, item, depth + 1, err) != 0)
            return -1;
        item->line = key.line;
        item->column = key.column;
    }
}

static int load_map(struct loader *loader, struct kf_value *map,
                    const yaml_event_t *start, unsigned depth, struct kf_err *err)
{
    kf_auto(kf_value_fini) struct kf_value merged = {0};
    const yaml_char_t *tag = start->data.mapping_start.tag;

    if (tag && !is_tag(tag, YAML_MAP_TAG))
        return at(err, &start->start_mark, "a tag that a Kitfile cannot have");
    map->kind = KF_VALUE_MAP;
    if (load_pairs(loader, map, &merged, depth, err) != 0)
        return -1;
    return finish_map(map, &merged, err);
}

static const char *anchor_of(const yaml_event_t *event)
{
    const yaml_char_t *anchor =
        event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
        : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                                                   : event->data.mapping_start.anchor;

    return (const char *)anchor;
}

static int load_event(struct loader *loader, struct kf_value *value,
                      const yaml_event_t *event, unsigned depth, struct kf_err *err)
{
    size_t values = loader->values, text = loader->text;
    int rc;

    value->line = (unsigned)event->start_mark.line + 1;
    value->column = (unsigned)event->start_mark.column + 1;
    if (event->type == YAML_ALIAS_EVENT)
        return load_alias(loader, value, event, depth, err);
    if (depth > KF_YAML_DEPTH)
        return at(err, &event->start_mark, "nested too deeply");
    if (count(loader, 1, 0, err) != 0)
        return -1;
    if (event->type == YAML_SCALAR_EVENT)
        rc = load_scalar(loader, value, event, err);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        rc = load_list(loader, value, event, depth, err);
    else
        rc = load_map(loader, value, event, depth, err);
    if (rc != 0 || !anchor_of(event))
        return rc;
    return keep_anchor(loader, anchor_of(event), value, loader->values - values,
                       loader->text - text, err);
}

/* --- the document --- */

/* Stream start, document start, the value, document end, stream end. */
static int load_stream(struct loader *loader, struct kf_value *value, struct kf_err *err)
{
    for (;;) {
        kf_auto(yaml_event_delete) yaml_event_t event = {0};

        if (next_event(loader, &event, err) != 0)
            return -1;
        if (event.type == YAML_STREAM_END_EVENT)
            return 0;
        if (event.type != YAML_DOCUMENT_START_EVENT)
            continue;
        if (loader->values > 0)
            return at(err, &event.start_mark, "a second document");
        if (load_next(loader, value, 0, err) != 0)
            return -1;
    }
}

int kf_yaml_parse(struct kf_value *ret, const void *data, size_t length,
                  struct kf_err *err)
{
    struct kf_value value = {0};
    struct loader loader = {0};
    int rc;

    if (length > KF_YAML_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "larger than %zu bytes", KF_YAML_LIMIT);
    if (!yaml_parser_initialize(&loader.parser))
        return no_memory(err);
    yaml_parser_set_input_string(&loader.parser, length > 0 ? data : "", length);
    rc = load_stream(&loader, &value, err);
    yaml_parser_delete(&loader.parser);
    for (size_t i = 0; i < loader.anchor_count; i++) {
        free(loader.anchors[i].name);
        kf_value_fini(&loader.anchors[i].value);
    }
    free(loader.anchors);
    if (rc != 0) {
        kf_value_fini(&value);
        return -1;
    }
    *ret = value;
    return 0;
}
