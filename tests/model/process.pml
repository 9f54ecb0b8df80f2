// What may become of a process.
#define RUNS 0
#define DEAD 1
#define STOPPED 2
