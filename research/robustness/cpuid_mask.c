/* Hide instruction sets from a program, to measure what it computes on an older processor (x86-64 Linux).

   gcc -shared -fPIC -O2 -o cpuid_mask.so cpuid_mask.c
   MTQNET_CPU=avx2 LD_PRELOAD=./cpuid_mask.so python ...

   The instruction cpuid is made to fault (arch_prctl ARCH_SET_CPUID, processors since 2012 with `cpuid_fault` in
   /proc/cpuinfo). The handler executes it and clears bits of the answer:
     no_vnni  AVX-512 VNNI, AVX-VNNI and AMX
     avx2     these, and all of AVX-512
     sse      these, and AVX, AVX2, FMA and F16C */

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static int level; /* 1 no_vnni, 2 avx2, 3 sse */

static long set_cpuid(int enabled) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, enabled); }

static void handler(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* another fault: die of it */
        signal(number, SIG_DFL);
        return;
    }
    uint32_t leaf = registers[REG_RAX], sub = registers[REG_RCX], a, b, c, d;
    set_cpuid(1);
    __cpuid_count(leaf, sub, a, b, c, d);
    set_cpuid(0);
    if (leaf == 7 && sub == 0) {
        c &= ~(1u << 11);                          /* AVX512_VNNI */
        d &= ~(1u << 22 | 1u << 24 | 1u << 25);    /* AMX-BF16, AMX-TILE, AMX-INT8 */
        if (level >= 2) {
            b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
            c &= ~(1u << 1 | 1u << 6 | 1u << 12 | 1u << 14);
            d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 23);
        }
        if (level >= 3) b &= ~(1u << 5);           /* AVX2 */
    }
    if (leaf == 7 && sub == 1) {
        a &= ~(1u << 4 | 1u << 21);                /* AVX_VNNI, AMX-FP16 */
        d &= ~(1u << 4 | 1u << 8 | 1u << 10 | 1u << 19); /* AVX-VNNI-INT8, AMX-COMPLEX, AVX-VNNI-INT16, AVX10 */
        if (level >= 2) a &= ~(1u << 5);           /* AVX512_BF16 */
    }
    if (leaf == 1 && level >= 3) c &= ~(1u << 12 | 1u << 28 | 1u << 29); /* FMA, AVX, F16C */
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("MTQNET_CPU");
    struct sigaction action;
    if (name == NULL) return;
    level = !strcmp(name, "no_vnni") ? 1 : !strcmp(name, "avx2") ? 2 : !strcmp(name, "sse") ? 3 : 0;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (level == 0 || sigaction(SIGSEGV, &action, NULL) != 0 || set_cpuid(0) != 0) _exit(97);
}
