/* `ixy-pktgen rfc2544 DEVICE DEVICE2`: the benchmarks of RFC 2544 for what lies between two devices. */
#ifndef PKTGEN_RFC2544_H
#define PKTGEN_RFC2544_H

/* As main(); argv[1] is "rfc2544". */
int rfc2544_main(int argc, char **argv);

#endif
