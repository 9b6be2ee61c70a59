/*
 * The registers of BAR 0, as data: offset, how many, what a write changes, what reset leaves.
 *
 * The first part is what the model acts on. The second is what it only remembers: registers of features that
 * are not modelled (flow director, FCoE, DCB, virtual functions, MACsec and IPsec, time stamps, wake-up), which
 * full drivers initialize all the same. A write to a register that is in neither is counted as a violation.
 */
#include "registers.h"

#define ROWS(name, at, n, k, ...)                                            \
	{                                                                    \
		name, .offset = (at), .count = (n), .kind = (k), __VA_ARGS__ \
	}
#define ROW(name, at, k, ...) ROWS(name, at, 1, k, __VA_ARGS__)
/* Queue registers are 0x40 apart; those of receive come in two banks. */
#define TXQ_ROWS(name, at, k, ...) ROWS(name, at(0), 128, k, .stride = 0x40, __VA_ARGS__)
#define RXQ_ROWS(name, at, k, ...)                             \
	ROWS(name, at(0), 64, k, .stride = 0x40, __VA_ARGS__), \
		ROWS(name, at(64), 64, k, .stride = 0x40, __VA_ARGS__)
#define COUNTERS(name, at, n) ROWS(name, at, n, CLEAR_ON_READ)
#define COUNTER(name, at)     COUNTERS(name, at, 1)

#define RING_LENGTH 0x000FFFFFu /* bits 19:7; the low ones are kept for the checker to see, and read 0 */
#define POINTER     0x0000FFFFu
#define FLOW_LEVEL  0x8007FFF0u

const struct register_row nic_register_table[] = {
	/* --- general control ----------------------------------------------------------------------- */
	ROW("CTRL", CTRL, HOOKED, .write = nic_ctrl_write),
	ROW("CTRL", CTRL_ALIAS, ALIAS, .alias = CTRL),
	ROW("STATUS", STATUS, RO, .read = nic_status_read),
	ROW("CTRL_EXT", CTRL_EXT, RW),
	ROW("ESDP", ESDP, RW, .kept = true, .reset = ESDP_SDP3_DIR | ESDP_SDP2, .write = nic_esdp_write),
	ROW("I2CCTL", I2CCTL, HOOKED, .write = nic_i2cctl_hook, .read = nic_i2cctl_hook_read),
	ROW("FRTIMER", FRTIMER, RO, .read = nic_timer_read),
	ROW("TCPTIMER", TCPTIMER, RW),
	ROW("LEDCTL", LEDCTL, RW, .kept = true),
	ROW("CORESPARE", CORESPARE, RW),

	/* --- EEPROM, semaphores, firmware ------------------------------------------------------------ */
	ROW("EEC", EEC, HOOKED, .kept = true, .write = nic_eec_hook),
	ROW("EERD", EERD, HOOKED, .write = nic_eerd_hook),
	ROW("EEMNGCTL", EEMNGCTL, RO, .reset = EEMNGCTL_CFG_DONE0 | EEMNGCTL_CFG_DONE1),
	ROW("SWSM", SWSM, SET_ON_READ, .mask = SWSM_SMBI | SWSM_SWESMBI, .read_sets = SWSM_SMBI,
		.kept = true),
	ROW("SW_FW_SYNC", SW_FW_SYNC, RW, .kept = true),
	ROW("FWSM", FWSM, RO, .reset = FWSM_VALID),
	ROW("FACTPS", FACTPS, RO),
	ROW("MMNGC", MMNGC, RO),
	ROW("MANC", MANC, RW),

	/* --- interrupts ------------------------------------------------------------------------------- */
	ROW("EICR", EICR, HOOKED, .read = nic_eicr_read, .write = nic_eicr_write),
	ROWS("EICR_EX", EICR_EX(0), 2, HOOKED, .read = nic_eicr_read, .write = nic_eicr_write),
	ROW("EICS", EICS, HOOKED, .read = nic_eics_read, .write = nic_eics_write),
	ROWS("EICS_EX", EICS_EX(0), 2, HOOKED, .read = nic_eics_read, .write = nic_eics_write),
	ROW("EIMS", EIMS, HOOKED, .write = nic_eims_write),
	ROWS("EIMS_EX", EIMS_EX(0), 2, HOOKED, .write = nic_eims_write),
	ROW("EIMC", EIMC, HOOKED, .write = nic_eimc_write),
	ROWS("EIMC_EX", EIMC_EX(0), 2, HOOKED, .write = nic_eimc_write),
	ROW("EIAM", EIAM, HOOKED, .write = nic_eiam_write),
	ROWS("EIAM_EX", EIAM_EX(0), 2, HOOKED, .write = nic_eiam_write),
	ROW("EIAC", EIAC, RW, .mask = EICR_RTXQ | EICR_TCP_TIMER),
	ROW("GPIE", GPIE, RW, .write = nic_ivar_write),
	ROWS("EITR", EITR(0), 24, RW, .mask = 0x00008FF8, .write = nic_eitr_write),
	ROWS("EITR", EITR(24), 105, RW, .mask = 0x00008FF8, .write = nic_eitr_write),
	ROW("EITRSEL", EITRSEL, RW),
	ROWS("IVAR", IVAR(0), 64, RW, .write = nic_ivar_write),
	ROW("IVAR_MISC", IVAR_MISC, RW, .mask = 0x0000FFFF, .write = nic_ivar_write),
	ROWS("PBACL", MSIXPBA_PF, 8, RW),
	ROW("PBACL", PBACL, RW),

	/* --- receive queues: the page of bank 0 and that of bank 1 are memory that the client may map -- */
	RXQ_ROWS("RDBAL", RDBAL, RW, .read = nic_ring_base_read),
	RXQ_ROWS("RDBAH", RDBAH, RW),
	RXQ_ROWS("RDLEN", RDLEN, RW, .mask = RING_LENGTH, .read = nic_ring_length_read),
	/* Silicon has bit 12 set. Intel's drivers leave it alone, so here only a driver that sets it offends. */
	RXQ_ROWS("DCA_RXCTRL", DCA_RXCTRL, RW, .reset = DCA_RXCTRL_DESC_WRO_EN | BIT(9)),
	RXQ_ROWS("RDH", RDH, RW, .mask = POINTER),
	RXQ_ROWS("SRRCTL", SRRCTL, RW, .reset = 4 << SRRCTL_BSIZEHEADER_SHIFT | 2),
	RXQ_ROWS("RDT", RDT, RW, .mask = POINTER),
	RXQ_ROWS("RXDCTL", RXDCTL, RW, .write = nic_rxdctl_write),
	RXQ_ROWS("RSCCTL", RSCCTL, RW),
	ROWS("SRRCTL", SRRCTL_LEGACY(0), 16, ALIAS, .alias = SRRCTL(0), .alias_stride = 0x40),
	ROWS("DCA_RXCTRL", DCA_RXCTRL_LEGACY(0), 16, ALIAS, .alias = DCA_RXCTRL(0), .alias_stride = 0x40),

	/* --- receive ------------------------------------------------------------------------------------ */
	ROW("FCTRL", FCTRL, RW),
	ROW("VLNCTRL", VLNCTRL, RW, .reset = 0x8100),
	ROW("MCSTCTRL", MCSTCTRL, RW, .mask = MCSTCTRL_MO | MCSTCTRL_MFE),
	ROW("RXCSUM", RXCSUM, RW),
	ROW("RFCTL", RFCTL, RW),
	ROWS("MTA", MTA(0), 128, RW),
	/* The address of the EEPROM is put into the first pair at each reset. */
	ROWS("RAL", RAL(0), 128, RW, .stride = 8),
	ROWS("RAH", RAH(0), 128, RW, .stride = 8, .mask = RAH_AV | 0xFFFF),
	ROWS("RAL", RAL_LEGACY(0), 16, ALIAS, .stride = 8, .alias = RAL(0), .alias_stride = 8),
	ROWS("RAH", RAH_LEGACY(0), 16, ALIAS, .stride = 8, .alias = RAH(0), .alias_stride = 8),
	ROWS("MPSAR", MPSAR(0), 256, RW),
	ROWS("PSRTYPE", PSRTYPE(0), 64, RW),
	ROWS("PSRTYPE", PSRTYPE_LEGACY(0), 16, ALIAS, .alias = PSRTYPE(0)),
	ROWS("VFTA", VFTA(0), 128, RW),
	ROWS("PFUTA", PFUTA(0), 128, RW),
	ROW("MRQC", MRQC, RW),
	ROW("MRQC", MRQC_ALIAS, ALIAS, .alias = MRQC),
	ROWS("RETA", RETA(0), 32, RW),
	ROWS("RETA", RETA_LEGACY(0), 32, ALIAS, .alias = RETA(0)),
	ROWS("RSSRK", RSSRK(0), 10, RW),
	ROWS("RSSRK", RSSRK_LEGACY(0), 10, ALIAS, .alias = RSSRK(0)),
	ROW("RXCTRL", RXCTRL, RW, .mask = RXCTRL_RXEN | BIT(1), .write = nic_rxctrl_write),
	/* DMAIDONE is read-only and always there: the model's DMA needs no time to come up. */
	ROW("RDRXCTL", RDRXCTL, RW, .mask = ~RDRXCTL_DMAIDONE, .reset = RDRXCTL_DMAIDONE | 8 << 17),
	ROWS("RXPBSIZE", RXPBSIZE(0), 8, RW, .mask = 0x000FFC00, .reset = RXPB_TOTAL_KIB << RXPBSIZE_SHIFT,
		.first_only = true),
	/* The security block only holds frames back: its engine is off for good, and says so. */
	ROW("SECRXCTRL", SECRXCTRL, RW, .mask = SECRXCTRL_RX_DIS, .reset = SECRXCTRL_SECRX_DIS,
		.write = nic_secrxctrl_write),
	ROW("SECRXSTAT", SECRXSTAT, RO, .reset = NIC_SECURITY_OFF),
	ROWS("ETQF", ETQF(0), 8, RW),
	ROWS("ETQS", ETQS(0), 8, RW),
	ROWS("SAQF", SAQF(0), 128, RW),
	ROWS("DAQF", DAQF(0), 128, RW),
	ROWS("SDPQF", SDPQF(0), 128, RW),
	ROWS("FTQF", FTQF(0), 128, RW),
	ROW("SYNQF", SYNQF, RW),
	ROWS("L34TIMIR", L34TIMIR(0), 128, RW),
	ROWS("RQSMR", RQSMR(0), 32, RW),

	/* --- transmit queues: the page of queues 0..63 is memory that the client may map --------------- */
	TXQ_ROWS("TDBAL", TDBAL, RW, .read = nic_ring_base_read),
	TXQ_ROWS("TDBAH", TDBAH, RW),
	TXQ_ROWS("TDLEN", TDLEN, RW, .mask = RING_LENGTH, .read = nic_ring_length_read),
	TXQ_ROWS("DCA_TXCTRL", DCA_TXCTRL, RW, .reset = DCA_TXCTRL_DESC_WRO_EN | BIT(13) | BIT(9)),
	TXQ_ROWS("TDH", TDH, RW, .mask = POINTER),
	TXQ_ROWS("TDT", TDT, RW, .mask = POINTER),
	TXQ_ROWS("TXDCTL", TXDCTL, RW, .mask = ~TXDCTL_SWFLSH, .write = nic_txdctl_write),
	TXQ_ROWS("TDWBAL", TDWBAL, RW),
	TXQ_ROWS("TDWBAH", TDWBAH, RW),

	/* --- transmit ----------------------------------------------------------------------------------- */
	ROW("DMATXCTL", DMATXCTL, RW, .reset = 0x8100u << DMATXCTL_VT_SHIFT),
	ROW("DTXTCPFLGL", DTXTCPFLGL, RW, .reset = DTXTCPFLGL_DEFAULT),
	ROW("DTXTCPFLGH", DTXTCPFLGH, RW, .reset = DTXTCPFLGH_DEFAULT),
	ROW("DTXMXSZRQ", DTXMXSZRQ, RW, .mask = DTXMXSZRQ_MAX, .reset = 0x10, .write = nic_arbitrated_write),
	ROW("MTQC", MTQC, RW, .write = nic_arbitrated_write),
	ROW("RTTDCS", RTTDCS, RW),
	ROWS("TXPBSIZE", TXPBSIZE(0), 8, RW, .mask = 0x000FFC00, .reset = TXPB_TOTAL_KIB << TXPBSIZE_SHIFT,
		.first_only = true, .write = nic_arbitrated_write),
	ROWS("TXPBTHRESH", TXPBTHRESH(0), 8, RW, .reset = 0x96, .first_only = true),
	ROW("SECTXCTRL", SECTXCTRL, RW, .mask = ~BIT(0), .reset = BIT(0), .write = nic_sectxctrl_write),
	ROW("SECTXSTAT", SECTXSTAT, RO, .reset = NIC_SECURITY_OFF),
	ROW("SECTXBUFFAF", SECTXBUFFAF, RW),
	ROW("SECTXMINIFG", SECTXMINIFG, RW, .reset = 1),
	ROWS("TQSM", TQSM(0), 32, RW),

	/* --- MAC and link ------------------------------------------------------------------------------- */
	ROW("HLREG0", HLREG0, RW, .reset = HLREG0_TXCRCEN | HLREG0_RXCRCSTRP | HLREG0_TXPADEN,
		.write = nic_mac_write),
	ROW("HLREG1", HLREG1, RO),
	ROW("PAP", PAP, RW, .reset = 0x8001FFFF),
	ROW("MSCA", MSCA, RW, .mask = ~MSCA_MDI_COMMAND, .write = nic_msca_write),
	ROW("MSRWD", MSRWD, RW, .mask = 0x0000FFFF),
	ROW("MAXFRS", MAXFRS, RW, .mask = 0xFFFF0000, .reset = 1518u << MAXFRS_SHIFT),
	ROW("AUTOC", AUTOC, RW, .mask = ~AUTOC_AN_RESTART, .reset = 0xC09C6004, .write = nic_autoc_write),
	ROW("AUTOC2", AUTOC2, RW, .reset = 0x00080000 | AUTOC2_10G_SFI, .write = nic_mac_write),
	ROW("LINKS", LINKS, RO),
	ROW("LINKS2", LINKS2, RO),
	ROW("ANLP1", ANLP1, RO),
	ROW("ANLP2", ANLP2, RO),
	ROW("MACC", MACC, RW),
	ROW("MFLCN", MFLCN, RW),
	ROWS("FCTTV", FCTTV(0), 4, RW),
	ROWS("FCRTL", FCRTL(0), 8, RW, .mask = FLOW_LEVEL),
	ROWS("FCRTH", FCRTH(0), 8, RW, .mask = FLOW_LEVEL),
	ROW("FCRTV", FCRTV, RW),
	ROW("FCCFG", FCCFG, RW),
	ROW("TFCS", TFCS, RO),

	/* --- statistics --------------------------------------------------------------------------------- */
	COUNTER("CRCERRS", CRCERRS),
	COUNTER("ILLERRC", ILLERRC),
	COUNTER("ERRBC", ERRBC),
	COUNTER("MSPDC", MSPDC),
	COUNTERS("MPC", MPC(0), 8),
	COUNTERS("RNBC", RNBC(0), 8),
	COUNTER("MLFC", MLFC),
	COUNTER("MRFC", MRFC),
	COUNTER("RLEC", RLEC),
	COUNTER("SSVPC", SSVPC),
	COUNTER("LXONTXC", LXONTXC),
	COUNTER("LXOFFTXC", LXOFFTXC),
	COUNTER("LXONRXC", LXONRXC),
	COUNTER("LXOFFRXC", LXOFFRXC),
	COUNTER("LXONRXCNT", LXONRXCNT),
	COUNTER("LXOFFRXCNT", LXOFFRXCNT),
	COUNTERS("PXONTXC", PXONTXC(0), 8),
	COUNTERS("PXOFFTXC", PXOFFTXC(0), 8),
	COUNTERS("PXONRXC", 0x0CF00, 8),
	COUNTERS("PXOFFRXC", 0x0CF20, 8),
	COUNTERS("PXONRXCNT", PXONRXCNT(0), 8),
	COUNTERS("PXOFFRXCNT", PXOFFRXCNT(0), 8),
	COUNTERS("PXON2OFFCNT", PXON2OFFCNT(0), 8),
	COUNTER("PRC64", PRC64),
	COUNTER("PRC127", PRC127),
	COUNTER("PRC255", PRC255),
	COUNTER("PRC511", PRC511),
	COUNTER("PRC1023", PRC1023),
	COUNTER("PRC1522", PRC1522),
	COUNTER("GPRC", GPRC),
	COUNTER("BPRC", BPRC),
	COUNTER("MPRC", MPRC),
	COUNTER("GPTC", GPTC),
	COUNTERS("GORC", GORCL, 2),
	COUNTERS("GOTC", GOTCL, 2),
	COUNTER("RUC", RUC),
	COUNTER("RFC", RFC),
	COUNTER("ROC", ROC),
	COUNTER("RJC", RJC),
	COUNTER("MNGPRC", MNGPRC),
	COUNTER("MNGPDC", MNGPDC),
	COUNTER("MNGPTC", MNGPTC),
	COUNTERS("TOR", TORL, 2),
	COUNTER("TPR", TPR),
	COUNTER("TPT", TPT),
	COUNTER("PTC64", PTC64),
	COUNTER("PTC127", PTC127),
	COUNTER("PTC255", PTC255),
	COUNTER("PTC511", PTC511),
	COUNTER("PTC1023", PTC1023),
	COUNTER("PTC1522", PTC1522),
	COUNTER("MPTC", MPTC),
	COUNTER("BPTC", BPTC),
	COUNTER("XEC", XEC),
	COUNTER("RXNFGPC", RXNFGPC),
	COUNTERS("RXNFGBC", RXNFGBCL, 2),
	COUNTER("RXDGPC", RXDGPC),
	COUNTERS("RXDGBC", RXDGBCL, 2),
	COUNTERS("RXDDGPC", 0x02F5C, 9), /* and RXDDGBC, RXLPBK*, RXDLPBK*: duplicated, looped back */
	COUNTER("TXDGPC", TXDGPC),
	COUNTERS("TXDGBC", TXDGBCL, 2),
	COUNTER("FCCRC", FCCRC),
	COUNTER("FCOERPDC", FCOERPDC),
	COUNTER("FCLAST", FCLAST),
	COUNTER("FCOEPRC", FCOEPRC),
	COUNTER("FCOEDWRC", FCOEDWRC),
	COUNTER("FCOEPTC", FCOEPTC),
	COUNTER("FCOEDWTC", FCOEDWTC),
	ROWS("QPRC", QPRC(0), 16, CLEAR_ON_READ, .stride = 0x40),
	ROWS("QBRC_L", QBRC_L(0), 16, CLEAR_ON_READ, .stride = 0x40),
	ROWS("QBRC_H", QBRC_H(0), 16, CLEAR_ON_READ, .stride = 0x40),
	ROWS("QPRDC", QPRDC(0), 16, CLEAR_ON_READ, .stride = 0x40),
	ROWS("QPTC", QPTC(0), 16, CLEAR_ON_READ, .stride = 0x40),
	ROWS("QPTC", QPTC_ALIAS(0), 16, ALIAS, .alias = QPTC(0), .alias_stride = 0x40),
	ROWS("QBTC", QBTC_L(0), 32, CLEAR_ON_READ),

	/* === remembered only ============================================================================ */

	/* --- general, EEPROM, management ------------------------------------------------------------------ */
	ROW("MAC_GPIO", 0x00030, RW),
	ROW("TSSDP", 0x0003C, RW),
	ROW("EEWR", 0x10018, RW),
	ROW("FLA", FLA, RW),
	ROW("EEMNGDATA", EEMNGDATA, RW),
	ROW("FLMNGCTL", FLMNGCTL, RW),
	ROWS("FLMNGDATA", 0x1011C, 2, RW),
	ROW("FLOP", 0x1013C, RW),
	ROW("GRC", GRC, RW, .kept = true),
	ROWS("VPDDIAG", 0x10204, 2, RO),
	ROW("SRAMREL", SRAMREL, RW),
	ROW("MANC2H", 0x05860, RW),
	ROWS("FLEX_MNG", 0x15800, 0x1C0, RW),
	ROW("HICR", 0x15F00, RO), /* EN clear: no firmware takes commands */
	ROW("FWSTS", 0x15F0C, W1C),
	ROW("SWSR", 0x15F10, RW),
	ROW("LSWFW", 0x15F14, RW),

	/* --- PCIe, DCA ------------------------------------------------------------------------------------ */
	ROW("GCR", GCR, RW, .kept = true),
	ROWS("GTV", 0x11004, 15, RW, .kept = true), /* and FUNCTAG, GLT, GSCL, GSCN: event counters */
	ROWS("PCIEANACTL", 0x11040, 3, RW),
	ROW("GCR_EXT", GCR_EXT, RW, .kept = true),
	ROW("MREVID", 0x11064, RO, .reset = 1),
	ROW("DCA_ID", DCA_ID, RO),
	ROW("DCA_CTRL", DCA_CTRL, RW),
	ROWS("CIAA", CIAA, 2, RW),
	ROWS("PICAUSE", 0x110B0, 4, RW),
	ROW("ECC_STATUS", 0x110E0, RO),
	ROWS("MISC_REG", 0x110F0, 2, RO),
	ROWS("ECC_CTRL", 0x11100, 2, RW),

	/* --- analog and MAC ------------------------------------------------------------------------------- */
	ROW("CORECTL", CORECTL, RW),
	ROW("SMADARCTL", 0x14F10, RW),
	ROW("PCS1GCFIG", 0x04200, RW),
	ROW("PCS1GLCTL", PCS1GLCTL, RW),
	ROW("PCS1GLSTA", PCS1GLSTA, RO),
	ROWS("PCS1GDBG", 0x04210, 2, RO),
	ROWS("PCS1GANA", PCS1GANA, 4, RW), /* and ANLP, ANNP, ANLPNP */
	ROWS("MACA", 0x0424C, 4, RW),      /* and APAE, ARD, AIS */
	ROW("MLADD", 0x04264, RW),
	ROW("TREG", 0x0426C, RW),
	ROWS("PCSS", 0x04288, 3, RO),
	ROWS("SERDESC", 0x04298, 2, RW), /* and MACS */
	ROW("AUTOC3", 0x042AC, RW),
	ROW("MDFTC1", 0x042B8, RW),
	ROWS("MDFTC2", 0x042C0, 4, RW), /* and the FIFOs and the status */
	ROWS("ANLPNP", 0x042D4, 2, RO),
	ROWS("KRPCSFC", 0x042E0, 4, RW),
	ROW("SGMIIC", 0x04314, RW),
	ROW("MPVC", 0x04318, RW),
	ROWS("FCAMAC", 0x04328, 2, RW),
	ROW("ATLASCTL", 0x04800, RW),

	/* --- receive and transmit paths ------------------------------------------------------------------ */
	ROW("PFCTOP", 0x03008, RW),
	ROW("RTRUP2TC", RTRUP2TC, RW),
	ROW("STARCTRL", 0x03024, RW),
	ROW("RSCDBU", RSCDBU, RW),
	ROW("RXMEMWRAP", 0x03190, RW),
	ROWS("FCADBU", 0x03210, 2, RW),
	ROW("PBRXECC", 0x03300, RW),
	ROW("DROPEN", 0x03D04, RW),
	ROW("RXDBUECC", 0x03F70, RW),
	ROW("PFQDE", PFQDE, RW),
	ROW("DRECCCTL", 0x02F08, RW),
	ROW("RDDCC", RDDCC, RW),
	ROWS("RDMAM", 0x02F30, 2, RW),
	ROW("RXDSTATCTRL", RXDSTATCTRL, RW),
	ROW("DRECCCTL2", 0x02F8C, RW),
	ROWS("MAVTV", 0x05010, 8, RW),
	ROWS("MFUTP", 0x05030, 8, RW),
	ROW("EXVET", 0x05078, RW, .reset = 0x81000000),
	ROW("RXFECCERR0", 0x051B8, RW),
	ROWS("IMIR", 0x05A80, 17, RW), /* and IMIREXT, IMIRVP */
	ROW("LLITHRESH", 0x0EC90, RW),
	ROW("RQTC", 0x0EC70, RW),
	ROW("TXDESCIC", 0x082CC, RW),
	ROWS("TXLLQ", 0x082E0, 4, RW),
	ROW("PBTXECC", 0x0C300, RW),
	ROW("LBDRPEN", 0x0CA00, RW),
	ROW("TIPG", 0x0CB00, RW),
	ROW("MNGTXMAP", 0x0CD10, RW),
	ROW("TXDBUECC", 0x0CF70, RW),

	/* --- DCB ------------------------------------------------------------------------------------------- */
	ROW("RTRPCS", RTRPCS, RW),
	ROWS("RTRPT4C", 0x02140, 8, RW),
	ROWS("RTRPT4S", 0x02160, 8, RO),
	ROW("RTTUP2TC", RTTUP2TC, RW),
	ROW("RTTPCS", RTTPCS, RW),
	ROWS("RTTPT2C", 0x0CD20, 8, RW),
	ROWS("RTTPT2S", 0x0CD40, 8, RO),
	ROW("RTTDQSEL", RTTDQSEL, RW),
	ROW("RTTDT1C", RTTDT1C, RW),
	ROW("RTTDT1S", 0x0490C, RO),
	ROWS("RTTDT2C", 0x04910, 8, RW),
	ROWS("RTTDT2S", 0x04930, 8, RO),
	ROWS("RTTBCNRM", 0x04980, 5, RW), /* and RTTBCNRC, RTTBCNRS, RTTBCNRD, RTTDTECC */
	ROW("RTTBCNTG", 0x04A90, RW),
	ROW("RTTBCNRTT", 0x05150, RW),
	ROWS("RTTBCNCR", 0x08B00, 6, RW), /* and RTTBCNACH, RTTBCNACL, RTTBCNIDX, RTTBCNCP, RTFRTIMER */
	ROW("DMACR", 0x02400, RW),
	ROW("DMCTLX", 0x02404, RW),

	/* --- flow director: INIT_DONE always set, a command is over at once -------------------------------- */
	ROW("FDIRCTRL", FDIRCTRL, RW, .mask = ~BIT(3), .reset = BIT(3)),
	ROWS("FDIRSIPV6", 0x0EE0C, 3, RW),
	ROWS("FDIRIPSA", 0x0EE18, 5, RW), /* and FDIRIPDA, FDIRPORT, FDIRVLAN, FDIRHASH */
	ROW("FDIRCMD", 0x0EE2C, RW, .mask = ~3u),
	ROW("FDIRFREE", 0x0EE38, RW),
	ROWS("FDIRDIP4M", 0x0EE3C, 4, RW), /* and FDIRSIP4M, FDIRTCPM, FDIRUDPM */
	COUNTERS("FDIRLEN", 0x0EE4C, 5),   /* and FDIRUSTAT, FDIRFSTAT, FDIRMATCH, FDIRMISS */
	ROWS("FDIRHKEY", 0x0EE68, 5, RW),  /* and FDIRSKEY, FDIRM, FDIRIP6M, FDIRSCTPM */

	/* --- FCoE -------------------------------------------------------------------------------------------- */
	ROWS("FCPTR", 0x02410, 3, RW), /* and FCBUFF */
	ROW("FCDMARW", 0x02420, RW),
	ROW("FCRXCTRL", 0x05100, RW),
	ROWS("FCFLT", 0x05108, 4, RW), /* and FCSMAC, FCFLTRW, FCD_ID */
	ROW("REOFF", 0x05158, RW),
	ROW("FCPARAM", 0x051D8, RW),
	ROW("RSOFF", 0x051F8, RW),
	ROWS("TEOFF", 0x04A94, 2, RW), /* and TSOFF */
	ROW("FCRECTL", 0x0ED00, RW),
	ROWS("FCRETA", 0x0ED10, 8, RW),

	/* --- virtual functions ----------------------------------------------------------------------------- */
	ROW("PFVFLRE", 0x001C0, W1C),
	ROWS("PFVFLREC", 0x00700, 2, W1C),
	ROWS("PFMBICR", 0x00710, 4, W1C),
	ROWS("PFMBIMR", 0x00720, 4, RW),
	ROWS("PFMAILBOX", 0x04B00, 64, RW),
	ROWS("PFMBMEM", 0x13000, 64 * 16, RW),
	ROW("PFVTCTL", PFVTCTL, RW),
	ROWS("PFVFRE", PFVFRE(0), 2, RW),
	ROWS("PFVFTE", PFVFTE(0), 2, RW),
	ROWS("PFVLVF", PFVLVF(0), 64, RW),
	ROWS("PFVLVFB", PFVLVFB(0), 128, RW),
	ROWS("PFVML2FLT", 0x0F000, 64, RW),
	ROWS("PFVMVIR", 0x08000, 64, RW),
	ROWS("PFVFSPOOF", 0x08200, 8, RW),
	ROW("PFDTXGSWC", 0x08220, RW),
	ROWS("PFVMTXSW", 0x05180, 2, RW),
	ROWS("VMECM", 0x08790, 2, RW),
	ROWS("PFFLP", 0x050B0, 2, RW),
	ROWS("MRCTL", 0x0F600, 4, RW),
	ROWS("VMRVLAN", 0x0F610, 8, RW),
	ROWS("VMRVM", 0x0F630, 8, RW),
	COUNTERS("LMVM_RX", 0x02FA4, 2),
	COUNTERS("WQBR_RX", 0x02FB0, 4),
	COUNTER("LVMMC_TX", 0x08108),
	COUNTER("LMVM_TX", 0x08124),
	COUNTERS("WQBR_TX", 0x08130, 4),

	/* --- IPsec, MACsec: the command bits of the IPsec indices are over at once --------------------------- */
	ROW("IPSTXIDX", 0x08900, RW, .mask = 0x3FFFFFFF),
	ROWS("IPSTXSALT", 0x08904, 5, RW), /* and IPSTXKEY */
	ROW("IPSRXIDX", 0x08E00, RW, .mask = 0x3FFFFFFF),
	ROWS("IPSRXIPADDR", 0x08E04, 12, RW), /* and IPSRXSPI, IPSRXIPIDX, IPSRXKEY, IPSRXSALT, IPSRXMOD */
	ROWS("LSECTX", 0x08A00, 15, RW),      /* capabilities, control, SCI, SA, packet numbers, keys */
	COUNTERS("LSECTXUT", 0x08A3C, 5),
	ROWS("LSECRX", 0x08F00, 16, RW),
	COUNTERS("LSECRXUT", 0x08F40, 17),

	/* --- time stamps ------------------------------------------------------------------------------------- */
	ROW("RXMTRL", 0x05120, RW),
	ROW("TSYNCRXCTL", 0x05188, RW, .mask = ~BIT(0)),
	ROWS("RXSATR", 0x051A0, 3, RO), /* and RXSTMPH, RXSATRH */
	ROW("RXSTMPL", 0x051E8, RO),
	ROW("TSYNCTXCTL", 0x08C00, RW, .mask = ~BIT(0)),
	ROWS("TXSTMP", 0x08C04, 2, RO),
	ROWS("SYSTIM", 0x08C0C, 12, RW), /* and TIMINCA, TIMADJ, TSAUXC, TRGTTIM, CLKTIM */
	ROWS("AUXSTMP", 0x08C3C, 4, RO),
	ROW("TSICR", 0x08C60, RW),
	ROW("TSIM", 0x08C68, RW),

	/* --- wake-up ----------------------------------------------------------------------------------------- */
	ROW("WUC", WUC, RW, .kept = true),
	ROW("WUFC", WUFC, RW, .kept = true),
	ROW("WUS", 0x05810, W1C, .kept = true),
	ROW("VMD_CTL", 0x0581C, RW),
	ROW("IPAV", 0x05838, RW),
	ROWS("IP4AT", 0x05840, 8, RW),
	ROWS("IP6AT", 0x05880, 4, RW),
	ROW("WUPL", 0x05900, RO),
	ROWS("WUPM", 0x05A00, 32, RO),
	ROWS("FHFT", 0x09000, 0x100, RW),
	ROWS("FHFT_EXT", 0x09800, 0x80, RW),
};
const unsigned nic_register_rows = sizeof nic_register_table / sizeof *nic_register_table;
