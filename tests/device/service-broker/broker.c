#include <stdio.h>
int main(void) { puts("broker " VERSION); return 0; }
