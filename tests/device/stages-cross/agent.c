#include <stdio.h>
#include <unistd.h>
int main(void) { printf("agent " VERSION " %d\n", (int)getuid()); return 0; }
