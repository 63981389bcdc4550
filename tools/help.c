/*
 * What people read: usage, the help of a verb, completion and the man page's options, all
 * from the two tables.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "options.h"
#include "verbs.h"

#define COLUMN 30
#define WIDTH 90

#ifdef KF_WITHOUT_FUSE
static const char purpose[] = "kitfs-pack packs ModelKits that can be read lazily.";
static const char first_use[] = "pack . -t oci:./layout:v1";
#else
static const char purpose[] = "kitfs mounts ModelKits and reads them lazily.";
static const char first_use[] = "mount registry.example/acme/llama3:8B /models/llama3";
#endif

void kf_print_usage(void)
{
    printf("%s\n\nUsage: " KF_PROGRAM " VERB ...\n\n", purpose);
    for (size_t i = 0; i < kf_verb_count; i++)
        printf("  %-11s %s\n", kf_verb_table[i].name, kf_verb_table[i].summary);
    printf("\n" KF_PROGRAM " VERB --help teaches a verb. Begin with:\n\n"
           "  " KF_PROGRAM " %s\n\n"
           "A reference is [registry/]repository[:tag|@digest], in kit's local store or "
           "else in\n"
           "the registry, or oci:DIR[:TAG] for an OCI layout folder.\n",
           first_use);
}

static void option_name(const struct kf_option *option, char *out, size_t size)
{
    char letter[8] = "    ";

    if (option->letter)
        (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter); /* fits */
    (void)snprintf(out, size, "%s--%s%s%s", letter, option->name,
                   !option->argument               ? ""
                   : kf_option_takes_value(option) ? " "
                                                   : "=",
                   option->argument ? option->argument : "");
}

/* A name and a text that is broken between words, in two columns. */
static void print_columns(const char *name, const char *text)
{
    int at = COLUMN + 3;

    printf("  %-*s", COLUMN, name);
    while (*text) {
        int word = (int)strcspn(text, " ");

        if (at + word + 1 > WIDTH && at > COLUMN + 3) {
            printf("\n%*s", COLUMN + 2, "");
            at = COLUMN + 3;
        }
        printf(" %.*s", word, text);
        at += word + 1;
        text += word + (text[word] == ' ');
    }
    printf("\n");
}

static void print_option(const struct kf_option *option)
{
    char name[64], text[256];

    option_name(option, name, sizeof(name));
    (void)snprintf(text, sizeof(text), "%s%s%s%s%s%s", option->help, /* fits */
                   option->choices ? ": " : "", option->choices ? option->choices : "",
                   option->fallback ? " [" : "", option->fallback ? option->fallback : "",
                   option->fallback ? "]" : "");
    print_columns(name, text);
}

void kf_print_verb_help(const struct kf_verb *verb)
{
    printf("Usage: " KF_PROGRAM " %s %s%s[options]\n\n%s.\n", verb->name, verb->arguments,
           *verb->arguments ? " " : "", verb->summary);
    if (verb->detail)
        printf("\n%s", verb->detail);
    printf("\nOptions [default]; each also as KITFS_NAME in the environment:\n");
    if (verb->bit == KF_V_MOUNT)
        print_columns("-o name=value,...",
                      "any of these; those of mount(8) are passed over");
    for (size_t i = 0; i < kf_option_count; i++)
        if ((kf_option_table[i].verbs & verb->bit) != 0)
            print_option(&kf_option_table[i]);
}

/* --- completion --- */

static void print_words(unsigned verb)
{
    for (size_t i = 0; i < kf_option_count; i++)
        if ((kf_option_table[i].verbs & verb) != 0)
            printf(" --%s", kf_option_table[i].name);
}

static void complete_bash(void)
{
    printf("# bash completion of kitfs: source this file\n_kitfs() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (size_t i = 0; i < kf_verb_count; i++)
        printf("%s%s", i ? " " : "", kf_verb_table[i].name);
    printf("'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < kf_verb_count; i++) {
        printf("        %s) words='", kf_verb_table[i].name);
        print_words(kf_verb_table[i].bit);
        printf("' ;;\n");
    }
    printf("        esac\n    fi\n"
           "    case $word in\n"
           "    -*) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\") ;;\n"
           "    *) if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "           mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "       else\n"
           "           mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
           "       fi ;;\n"
           "    esac\n}\ncomplete -o filenames -F _kitfs " KF_PROGRAM "\n");
}

/* zsh's single-quoted words, with what _arguments takes for its own escaped. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void complete_zsh(void)
{
    printf("#compdef " KF_PROGRAM "\nlocal -a verbs\nverbs=(\n");
    for (size_t i = 0; i < kf_verb_count; i++) {
        printf("    '%s:", kf_verb_table[i].name);
        print_zsh_text(kf_verb_table[i].summary);
        printf("'\n");
    }
    printf(")\nif (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\nfi\n"
           "case $words[2] in\n");
    for (size_t i = 0; i < kf_verb_count; i++) {
        printf("%s) _arguments", kf_verb_table[i].name);
        for (size_t k = 0; k < kf_option_count; k++) {
            const struct kf_option *option = &kf_option_table[k];

            if ((option->verbs & kf_verb_table[i].bit) == 0)
                continue;
            printf(" '--%s%s[", option->name, kf_option_takes_value(option) ? "=" : "");
            print_zsh_text(option->help);
            printf("]%s'", kf_option_takes_value(option) ? ": :_files" : "");
        }
        printf(" '*:file:_files' ;;\n");
    }
    printf("esac\n");
}

static void print_fish_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
}

static void complete_fish(void)
{
    for (size_t i = 0; i < kf_verb_count; i++) {
        printf("complete -c " KF_PROGRAM " -n __fish_use_subcommand -a %s -d '",
               kf_verb_table[i].name);
        print_fish_text(kf_verb_table[i].summary);
        printf("'\n");
        for (size_t k = 0; k < kf_option_count; k++) {
            const struct kf_option *option = &kf_option_table[k];

            if ((option->verbs & kf_verb_table[i].bit) == 0)
                continue;
            printf("complete -c " KF_PROGRAM " -n '__fish_seen_subcommand_from %s' -l %s",
                   kf_verb_table[i].name, option->name);
            if (option->letter)
                printf(" -s %c", option->letter);
            printf("%s -d '", kf_option_takes_value(option) ? " -r" : "");
            print_fish_text(option->help);
            printf("'\n");
        }
    }
}

int kf_verb_completion(const struct kf_options *options)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {
        {"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};

    for (size_t i = 0; i < KF_ARRAY_LEN(shells); i++) {
        if (strcmp(options->args[0], shells[i].shell) == 0) {
            shells[i].print();
            return 0;
        }
    }
    fprintf(stderr, "[ERROR] Cannot complete %s: there are bash, zsh and fish\n",
            options->args[0]);
    return 1;
}

int kf_verb_help(const struct kf_options *options)
{
    const struct kf_verb *verb;

    if (options->arg_count == 0) {
        kf_print_usage();
        return 0;
    }
    verb = kf_verb_find(options->args[0]);
    if (!verb)
        return kf_report_no_verb(options->args[0]);
    kf_print_verb_help(verb);
    return 0;
}
