// Fills the holes of the heap before the base image is taken.
//
// After CPython's start hundreds of pages have room for some small objects. A session would put each of its
// objects into another of these pages, which the system has to copy first. With all holes filled, the objects
// of a session lie side by side in new pages. The holes are lost: some hundred kilobytes that all sessions
// share and none touches.
#include "abyme.h"
#include <stdlib.h>

// Where a session's objects begin.
#define ROOM (1 << 20)
// Holes larger than this are as good as new pages.
#define LARGEST 8192

void abyme_fill_holes(void) {
    // A block this large comes from the end of the heap: all free memory below it is a hole.
    char *frontier = malloc(ROOM);
    if (frontier == NULL) return;
    for (size_t size = LARGEST; size >= 8; size = size > 512 ? size / 2 : size - 8) {
        for (;;) {
            char *block = malloc(size);
            if (block == NULL) break;
            if (block > frontier) {
                free(block);
                break;
            }
        }
    }
    free(frontier);
}
