/*
 * The program: finds the verb, parses its options, runs it. Called as mount.fuse.kitfs,
 * or by mount(8) through `kitfs REF DIR -o ...`, it is `kitfs mount` with mount(8)'s exit
 * code.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/creds_local.h"
#include "options.h"
#include "verbs.h"

#define MOUNT_FAILED 32 /* mount(8), "EXIT STATUS" */

const struct kf_verb kf_verb_table[] = {
#ifndef KF_WITHOUT_FUSE
    {"mount", KF_V_MOUNT, "REF DIR", 2, 2, "Mount a ModelKit read-only",
     "Returns when the kit can be read; what is read is fetched then. DIR is made when "
     "it\n"
     "is missing. A tag is resolved once: the mount keeps showing that digest.\n\n"
     "  kitfs mount registry.example/acme/llama3:8B /models/llama3\n"
     "  kitfs mount oci:./layout:v1 ./kit            from an OCI layout folder\n"
     "  kitfs mount acme/llama3:8B ./kit             from kit's local store\n"
     "  kitfs mount --plain-http 127.0.0.1:5000/m:v1 ./kit\n"
     "  mount -t fuse.kitfs registry.example/acme/llama3:8B /models/llama3 -o "
     "memory=64M\n",
     kf_verb_mount},
    {"umount", KF_V_UMOUNT, "DIR", 1, 1, "Unmount, and wait until it is gone",
     "A mount that is in use is refused, with the name of who uses it.\n",
     kf_verb_umount},
#endif
    {"ls", KF_V_LS, "REF [PATH]", 1, 2, "List files inside a kit, without mounting", NULL,
     kf_verb_ls},
    {"cat", KF_V_CAT, "REF PATH", 2, 2, "Write one file of a kit to stdout",
     "  kitfs cat oci:./layout:v1 config.json\n"
     "  kitfs cat REF model.safetensors --offset 0 --length 64K\n",
     kf_verb_cat},
    {"list", KF_V_LIST, "[REPOSITORY]", 0, 1,
     "List the tags of a repository, or the kits of kit's local store",
     "  kitfs list                              kit's local store, as kit list does\n"
     "  kitfs list registry.example/acme/llama3 tags in the registry\n"
     "  kitfs list oci:./layout                 tags in a layout folder\n"
     "  kitfs list store:acme/llama3            tags in kit's local store\n",
     kf_verb_list},
    {"info", KF_V_INFO, "REF", 1, 1, "Print the Kitfile of a kit, as kit info does", NULL,
     kf_verb_info},
    {"inspect", KF_V_INSPECT, "REF", 1, 1,
     "Print manifest, config and digest of a kit as JSON",
     "  kitfs inspect REF --layers      how each layer is read, and what of it is "
     "checked\n"
     "  kitfs inspect REF --toc         the tables of contents, every file and chunk\n",
     kf_verb_inspect},
    {"diff", KF_V_DIFF, "A B", 2, 2,
     "Compare two kits by their tables, without reading their files",
     "A line for each file that differs, and what is to be fetched for B when A is in "
     "the "
     "cache.\n"
     "unknown: of the same size, and nothing that would tell without reading both.\n\n"
     "  kitfs diff registry.example/acme/llama3:8B registry.example/acme/llama3:8B-v2\n",
     kf_verb_diff},
    {"tag", KF_V_TAG, "SRC REF...", 2, KF_ARGS_LIMIT,
     "Give a kit further names where it is; nothing is downloaded",
     "In kit's local store, in a layout folder, or in a registry; a name that another "
     "kit "
     "has\n"
     "moves. REF without a prefix is where SRC is.\n\n"
     "  kitfs tag acme/llama3:8B acme/llama3:latest\n"
     "  kitfs tag oci://registry.example/acme/llama3:8B "
     "oci://registry.example/acme/llama3:latest\n",
     kf_verb_tag},
    {"verify", KF_V_VERIFY, "REF", 1, 1, "Download a whole kit and check every digest",
     "Blobs, chunks, archives against their tables of contents, unpacked contents; each\n"
     "thing that is wrong is a line, and the exit code 1.\n",
     kf_verb_verify},
    {"unpack", KF_V_UNPACK, "REF", 1, 1, "Unpack a ModelKit into a directory",
     "What kit unpack leaves, with several layers at once, each verified. Files appear "
     "when\n"
     "all of the kit is there; until then it is in DIR/.kitfs-unpack, from where the "
     "same\n"
     "command goes on after it was cut off. Chunks that the cache has are used, and "
     "none\n"
     "are added to it.\n\n"
     "  kitfs unpack registry.example/acme/llama3:8B -d ./llama3\n"
     "  kitfs unpack oci:./layout:v1 -d . -o         over files that are there\n",
     kf_verb_unpack},
    {"pack", KF_V_PACK, "DIR", 1, 1, "Pack a directory with a Kitfile into a ModelKit",
     "Layers are seekable: what packs so can be mounted and read lazily, and each chunk "
     "is\n"
     "checked. The same directory gives the same kit. The digest is the last line of "
     "the\n"
     "output, with --quiet the only one.\n\n"
     "  kitfs pack . -t oci:./layout:v1              into an OCI layout folder\n"
     "  kitfs pack . -t acme/llama3:8B               into kit's local store\n"
     "  kitfs pack . -t registry.example/acme/llama3:8B --push\n"
     "  kitfs pack . -t oci:./layout:v1 --compression none   for kit before 1.15\n",
     kf_verb_pack},
    {"login", KF_V_LOGIN, "HOST", 1, 1, "Keep credentials for a registry",
     "They are tried at the registry first, and kept where kit keeps its own, or in "
     "--authfile;\n"
     "by a helper program where that file names one. The password is asked for, or read "
     "from\n"
     "standard input.\n\n"
     "  kitfs login registry.example\n"
     "  kitfs login registry.example -u ci --password-stdin <password\n",
     kf_verb_login},
    {"logout", KF_V_LOGOUT, "HOST", 1, 1, "Remove the credentials of a registry",
     "From where login keeps them: other files of podman and docker are not touched.\n",
     kf_verb_logout},
#ifndef KF_WITHOUT_FUSE
    {"status", KF_V_STATUS, "[DIR]", 0, 1, "Show mounts, their state and progress", NULL,
     kf_verb_status},
    {"doctor", KF_V_DOCTOR, "[REF]", 0, 1,
     "Check what kitfs needs here, and the way to a registry", NULL, kf_verb_doctor},
#endif
    {"version", KF_V_VERSION, "", 0, 0, "Print versions", NULL, kf_verb_version},
    {"completion", KF_V_COMPLETION, "bash|zsh|fish", 1, 1, "Print completion for a shell",
     "  source <(kitfs completion bash)\n", kf_verb_completion},
    {"help", KF_V_HELP, "[VERB]", 0, 1, "Print help", NULL, kf_verb_help},
};

const size_t kf_verb_count = KF_ARRAY_LEN(kf_verb_table);

const struct kf_verb *kf_verb_find(const char *name)
{
    for (size_t i = 0; i < kf_verb_count; i++)
        if (strcmp(kf_verb_table[i].name, name) == 0)
            return &kf_verb_table[i];
    return NULL;
}

static int set_up_log(const struct kf_options *options, struct kf_err *err)
{
    enum kf_log_level level;
    enum kf_log_format format =
        strcmp(options->log_format, "json") == 0 ? KF_LOG_JSON : KF_LOG_TEXT;

    if (kf_log_parse_level(options->log_level, &level, err) != 0)
        return -1;
    if (options->verbose && level < KF_LOG_INFO)
        level = KF_LOG_INFO;
    if (options->quiet)
        level = KF_LOG_ERROR;
    kf_log_setup(level, format, STDERR_FILENO);
    return options->debug ? kf_log_debug(options->debug, err) : 0;
}

static int check_arguments(const struct kf_verb *verb, const struct kf_options *options,
                           struct kf_err *err)
{
    if (options->arg_count >= verb->min_args && options->arg_count <= verb->max_args)
        return 0;
    return kf_fail(err, KF_E_ARG,
                   "%s; usage: " KF_PROGRAM " %s %s (see " KF_PROGRAM " %s --help)",
                   options->arg_count < verb->min_args ? "an argument is missing"
                                                       : "too many arguments",
                   verb->name, verb->arguments, verb->name);
}

/* What was printed has arrived; a reader that has gone needs nothing. */
static int flush_output(const struct kf_verb *verb, int code)
{
    struct kf_err err = {0};

    if (fflush(stdout) == 0 || errno == EPIPE || code != 0)
        return code;
    (void)kf_fail_errno(&err, "cannot write"); /* printed below */
    fprintf(stderr, "[ERROR] Cannot %s: %s\n", verb->name, err.message);
    return 1;
}

static int run(const struct kf_verb *verb, int argc, char **argv)
{
    static struct kf_creds_local creds; /* to the end: requests may outlast the verb */
    struct kf_options options;
    struct kf_err err = {0};
    int code;

    if (kf_options_parse(&options, verb->bit, argc, argv, &err) != 0) {
        fprintf(stderr, "[ERROR] Cannot %s: %s\n", verb->name, err.message);
        return 1;
    }
    if (options.help) {
        kf_print_verb_help(verb);
        code = 0;
    } else if (set_up_log(&options, &err) != 0 ||
               check_arguments(verb, &options, &err) != 0 ||
               kf_creds_local_init(&creds, options.authfile, &err) != 0) {
        fprintf(stderr, "[ERROR] Cannot %s: %s\n", verb->name, err.message);
        code = 1;
    } else {
        options.creds = &creds.creds;
        code = verb->run(&options);
    }
    kf_options_fini(&options);
    return flush_output(verb, code);
}

int kf_report_no_verb(const char *name)
{
    const char *names[KF_ARRAY_LEN(kf_verb_table)], *near;

    for (size_t i = 0; i < kf_verb_count; i++)
        names[i] = kf_verb_table[i].name;
    near = kf_nearest(name, names, kf_verb_count);
    if (near)
        fprintf(stderr, "[ERROR] Cannot run '%s': no such verb; did you mean %s?\n", name,
                near);
    else
        fprintf(stderr,
                "[ERROR] Cannot run '%s': no such verb (" KF_PROGRAM
                " --help lists them)\n",
                name);
    return 1;
}

static bool is_mount_helper(const char *program)
{
    const char *slash = strrchr(program, '/');

    return strcmp(slash ? slash + 1 : program, "mount.fuse.kitfs") == 0;
}

/* mount.fuse3 runs `kitfs REF DIR -o options`. */
static bool has_form_of_mount_fuse(int argc, char **argv)
{
    return argc == 5 && strcmp(argv[3], "-o") == 0 && !kf_verb_find(argv[1]);
}

/* mount(8), "EXTERNAL HELPERS": REF DIR [-sfnv] [-N namespace] [-o options] [-t type].
 * Its letters are not ours (-f is a rehearsal): only -v and -o are passed on. */
static int run_as_mount_helper(int argc, char **argv)
{
    static char verbose[] = "-v", options[] = "-o";
    char *passed[KF_ARGS_LIMIT];
    int count = 0, letter;
    bool rehearsal = false;

    for (optind = 1; (letter = getopt(argc, argv, "sfnvN:o:t:")) != -1;) {
        if (letter == '?' || count + 4 > (int)KF_ARGS_LIMIT)
            return MOUNT_FAILED; /* getopt has said why */
        rehearsal |= letter == 'f';
        if (letter == 'v' || letter == 'o')
            passed[count++] = letter == 'v' ? verbose : options;
        if (letter == 'o')
            passed[count++] = optarg;
    }
    for (; optind < argc && count < (int)KF_ARGS_LIMIT; optind++)
        passed[count++] = argv[optind];
    if (rehearsal)
        return 0;
    return run(kf_verb_find("mount"), count, passed) == 0 ? 0 : MOUNT_FAILED;
}

int main(int argc, char **argv)
{
    const struct kf_verb *verb;

    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(2) */
    (void)signal(SIGCHLD, SIG_DFL); /* or helper programs could not be waited for */
    if (argc > 0 && (is_mount_helper(argv[0]) || has_form_of_mount_fuse(argc, argv)))
        return run_as_mount_helper(argc, argv);
    if (argc < 2) {
        fprintf(stderr,
                "[ERROR] Cannot run: no verb (" KF_PROGRAM " --help lists them)\n");
        return 1;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        kf_print_usage();
        return 0;
    }
    verb = kf_verb_find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    return verb ? run(verb, argc - 2, argv + 2) : kf_report_no_verb(argv[1]);
}
