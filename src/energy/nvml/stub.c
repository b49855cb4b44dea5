/* A libnvidia-ml.so.1 whose one GPU is made of files, so that the real adapter can be tested without a GPU.
 *
 * Compiled by the tests with -DDIR="…". In that folder:
 *   energy_uj  microjoules since the driver was loaded; absent: no counter (before Volta)
 *   step_mj    the counter moves in such steps; absent: 1
 *   power_mw   power; absent: the GPU has fallen off the bus
 *   mig        1: cut into slices; absent: no MIG (before Ampere)
 */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, GPU_IS_LOST = 15 };

static int number(const char *name, unsigned long long *value) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", DIR, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int found = fscanf(file, "%llu", value) == 1;
    fclose(file);
    return found;
}

static int text(char *to, unsigned length, const char *from) {
    strncpy(to, from, length);
    return SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { return text(version, length, "570.00"); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)1;
    return index == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    (void)device;
    return text(name, length, "Stub GPU");
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    (void)device;
    unsigned long long mode;
    if (!number("mig", &mode)) return NOT_SUPPORTED;
    *current = *pending = (unsigned)mode;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    (void)device;
    unsigned long long power;
    if (!number("power_mw", &power)) return GPU_IS_LOST;
    *milliwatts = (unsigned)power;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    (void)device;
    unsigned long long microjoules, step = 1;
    if (!number("energy_uj", &microjoules)) return NOT_SUPPORTED;
    number("step_mj", &step);
    *millijoules = microjoules / 1000 / step * step;
    return SUCCESS;
}
