/*
 * Registers and descriptors of the Intel 82599 10 GbE controller, by their datasheet names.
 *
 * Offsets are byte offsets in BAR 0; every register is 32 bits wide and little-endian. Section numbers are
 * those of the datasheet (Intel 331520), chapter 8. The driver and the software NIC both include this file.
 */
#ifndef IXY_IXGBE_REGS_H
#define IXY_IXGBE_REGS_H

#include <stdint.h>

/* A register's bits stand indented below it. */
/* clang-format off */

#define PCI_VENDOR_INTEL       0x8086
#define PCI_DEVICE_82599_SFP   0x10FB /* 82599ES, SFI/SFP+ */

#define BIT(n) (1u << (n))

/* --- 8.2.3.1 general control --------------------------------------------------------------------- */
#define CTRL             0x00000
#define   CTRL_GIO_DIS   BIT(2)  /* master disable */
#define   CTRL_LRST      BIT(3)  /* link reset */
#define   CTRL_RST       BIT(26) /* device reset; both self-clearing */
#define CTRL_ALIAS       0x00004
#define STATUS           0x00008
#define   STATUS_LAN_ID  (3u << 2)
#define   STATUS_GIO     BIT(19) /* master enable status: clears when no request is pending */
#define CTRL_EXT         0x00018
#define   CTRL_EXT_NS_DIS   BIT(16) /* no snoop disable */
#define   CTRL_EXT_RO_DIS   BIT(17) /* relaxed ordering disable */
#define   CTRL_EXT_DRV_LOAD BIT(28)
#define ESDP             0x00020
#define   ESDP_SDP2      BIT(2)  /* SFP cage occupied */
#define   ESDP_SDP3      BIT(3)  /* high: laser off */
#define   ESDP_SDP3_DIR  BIT(11) /* pin 3 is an output */
#define I2CCTL           0x00028
#define   I2CCTL_CLK_IN   BIT(0)
#define   I2CCTL_CLK_OUT  BIT(1)
#define   I2CCTL_DATA_IN  BIT(2)
#define   I2CCTL_DATA_OUT BIT(3)
#define FRTIMER          0x00048
#define TCPTIMER         0x0004C
#define LEDCTL           0x00200
#define CORESPARE        0x00600

/* --- 8.2.3.2 EEPROM and flash -------------------------------------------------------------------- */
#define EEC              0x10010
#define   EEC_SK         BIT(0)
#define   EEC_CS         BIT(1)
#define   EEC_DI         BIT(2)
#define   EEC_DO         BIT(3)
#define   EEC_REQ        BIT(6)
#define   EEC_GNT        BIT(7)
#define   EEC_PRES       BIT(8)
#define   EEC_ARD        BIT(9)  /* auto-read done */
#define   EEC_SIZE_SHIFT 11
#define EERD             0x10014
#define   EERD_START     BIT(0)
#define   EERD_DONE      BIT(1)
#define   EERD_ADDR_SHIFT 2
#define   EERD_DATA_SHIFT 16
#define FLA              0x1001C
#define EEMNGCTL         0x10110
#define   EEMNGCTL_CFG_DONE0 BIT(18)
#define   EEMNGCTL_CFG_DONE1 BIT(19)
#define EEMNGDATA        0x10114
#define FLMNGCTL         0x10118
#define GRC              0x10200
#define SRAMREL          0x10210
#define EEPROM_SUM       0xBABA
#define EEPROM_CHECKSUM_WORD 0x3F

/* --- semaphores, firmware ------------------------------------------------------------------------ */
#define SWSM             0x10140
#define   SWSM_SMBI      BIT(0)  /* set by the read that finds it clear */
#define   SWSM_SWESMBI   BIT(1)
#define FWSM             0x10148
#define   FWSM_MODE      (7u << 1)
#define   FWSM_VALID     BIT(15)
#define   FWSM_EXT_ERR   (0x3Fu << 19)
#define SW_FW_SYNC       0x10160 /* GSSR */
#define FACTPS           0x10150
#define   FACTPS_LFS     BIT(30)
#define MANC             0x05820
#define MMNGC            0x042D0
#define   MMNGC_VETO     BIT(0)

/* --- 8.2.3.4 PCIe -------------------------------------------------------------------------------- */
#define GCR              0x11000
#define GCR_EXT          0x11050
#define   GCR_EXT_BUFFERS_CLEAR BIT(30)
#define PBACL            0x11068
#define DCA_ID           0x11070
#define DCA_CTRL         0x11074
#define CIAA             0x11088
#define CIAD             0x1108C
#define CORECTL          0x14F00

/* --- 8.2.3.5 interrupts -------------------------------------------------------------------------- */
#define EICR             0x00800
#define EICS             0x00808
#define EIMS             0x00880
#define EIMC             0x00888
#define EIAC             0x00810
#define EIAM             0x00890
#define EICS_EX(n)       (0x00A90 + 4 * (n)) /* n 0..1; 64 queue causes in extended mode */
#define EIMS_EX(n)       (0x00AA0 + 4 * (n))
#define EIMC_EX(n)       (0x00AB0 + 4 * (n))
#define EIAM_EX(n)       (0x00AD0 + 4 * (n))
#define   EICR_RTXQ      0x0000FFFFu /* queue causes, as IVAR maps them */
#define   EICR_FLOW_DIR  BIT(16)
#define   EICR_RX_MISS   BIT(17)
#define   EICR_PCI       BIT(18)
#define   EICR_MAILBOX   BIT(19)
#define   EICR_LSC       BIT(20) /* link status change */
#define   EICR_LINKSEC   BIT(21)
#define   EICR_MNG       BIT(22)
#define   EICR_GPI_SDP0  BIT(24)
#define   EICR_GPI_SDP1  BIT(25)
#define   EICR_GPI_SDP2  BIT(26)
#define   EICR_ECC       BIT(28)
#define   EICR_TCP_TIMER BIT(30)
#define   EICR_OTHER     BIT(31)
#define GPIE             0x00898
#define   GPIE_SDP0      BIT(0)
#define   GPIE_MULTIPLE_MSIX BIT(4)
#define   GPIE_OCD       BIT(5) /* other clear disable */
#define   GPIE_EIMEN     BIT(6)
#define   GPIE_EIAME     BIT(30)
#define   GPIE_PBA_SUPPORT BIT(31)
#define EITR(n)          ((n) < 24 ? 0x00820 + 4 * (n) : 0x12300 + 4 * ((n) - 24)) /* n 0..128 */
#define   EITR_INTERVAL_SHIFT 3      /* bits 11:3, in units of 2 us at 10G (8.2.3.5.12) */
#define   EITR_INTERVAL_MASK  0xFF8u
#define   EITR_CNT_WDIS  BIT(31)
#define EITRSEL          0x00894
#define IVAR(n)          (0x00900 + 4 * (n)) /* n 0..63: queues 2n and 2n + 1, RX and TX a byte each */
#define   IVAR_VALID     0x80u
#define IVAR_MISC        0x00A00 /* byte 0: TCP timer, byte 1: other causes */
#define MSIXPBA_PF       0x110C0

/* --- 8.2.3.7, 8.2.3.8 receive -------------------------------------------------------------------- */
#define FCTRL            0x05080
#define   FCTRL_SBP      BIT(1)  /* store bad packets */
#define   FCTRL_MPE      BIT(8)  /* multicast promiscuous */
#define   FCTRL_UPE      BIT(9)  /* unicast promiscuous */
#define   FCTRL_BAM      BIT(10) /* accept broadcast */
#define   FCTRL_PMCF     BIT(12) /* 82598 only, as is the next: here they are in MFLCN */
#define   FCTRL_DPF      BIT(13)
#define VLNCTRL          0x05088
#define   VLNCTRL_VET    0xFFFFu
#define   VLNCTRL_CFI    BIT(28)
#define   VLNCTRL_CFIEN  BIT(29)
#define   VLNCTRL_VFE    BIT(30) /* VLAN filter enable */
#define MCSTCTRL         0x05090
#define   MCSTCTRL_MO    3u     /* which 12 bits of the address index the MTA; 0: bits 47:36 */
#define   MCSTCTRL_MFE   BIT(2)
#define RXCSUM           0x05000
#define   RXCSUM_IPPCSE  BIT(12)
#define   RXCSUM_PCSD    BIT(13) /* descriptor has the RSS hash instead of the fragment checksum */
#define RFCTL            0x05008
#define   RFCTL_RSC_DIS  BIT(5)
#define MTA(n)           (0x05200 + 4 * (n)) /* n 0..127 */
#define RAL(n)           (0x0A200 + 8 * (n)) /* n 0..127; 0..15 also at 0x5400 */
#define RAH(n)           (0x0A204 + 8 * (n))
#define RAL_LEGACY(n)    (0x05400 + 8 * (n))
#define RAH_LEGACY(n)    (0x05404 + 8 * (n))
#define   RAH_AV         BIT(31) /* address valid */
#define MPSAR(n)         (0x0A600 + 4 * (n)) /* n 0..255 */
#define PSRTYPE(n)       (0x0EA00 + 4 * (n)) /* n 0..63; 0..15 also at 0x5480 */
#define   PSRTYPE_TCP    BIT(4) /* headers up to which a frame is split */
#define   PSRTYPE_UDP    BIT(5)
#define   PSRTYPE_IPV4   BIT(8)
#define   PSRTYPE_IPV6   BIT(9)
#define   PSRTYPE_L2     BIT(12)
#define PSRTYPE_LEGACY(n) (0x05480 + 4 * (n))
#define VFTA(n)          (0x0A000 + 4 * (n)) /* n 0..127 */
#define PFUTA(n)         (0x0F400 + 4 * (n)) /* n 0..127 */
#define PFVTCTL          0x051B0
#define PFVFRE(n)        (0x051E0 + 4 * (n))
#define PFVFTE(n)        (0x08110 + 4 * (n))
#define PFVLVF(n)        (0x0F100 + 4 * (n)) /* n 0..63 */
#define PFVLVFB(n)       (0x0F200 + 4 * (n)) /* n 0..127 */
#define ETQF(n)          (0x05128 + 4 * (n)) /* n 0..7 */
#define ETQS(n)          (0x0EC00 + 4 * (n)) /* n 0..7 */
#define SAQF(n)          (0x0E000 + 4 * (n)) /* n 0..127 */
#define DAQF(n)          (0x0E200 + 4 * (n))
#define SDPQF(n)         (0x0E400 + 4 * (n))
#define FTQF(n)          (0x0E600 + 4 * (n))
#define SYNQF            0x0EC30
#define L34TIMIR(n)      (0x0E800 + 4 * (n))
#define FDIRCTRL         0x0EE00
#define MRQC             0x05818 /* also 0x0EC80 */
#define MRQC_ALIAS       0x0EC80
#define   MRQC_MRQE      0xFu
#define   MRQC_RSS       1u
#define   MRQC_RSS_TCP4  BIT(16)
#define   MRQC_RSS_IP4   BIT(17)
#define   MRQC_RSS_IP6   BIT(20)
#define   MRQC_RSS_TCP6  BIT(21)
#define   MRQC_RSS_UDP4  BIT(22)
#define   MRQC_RSS_UDP6  BIT(23)
#define RETA(n)          (0x0EB00 + 4 * (n)) /* n 0..31, 4 entries each; also 0x5C00 */
#define RETA_LEGACY(n)   (0x05C00 + 4 * (n))
#define RSSRK(n)         (0x0EB80 + 4 * (n)) /* n 0..9; also 0x5C80 */
#define RSSRK_LEGACY(n)  (0x05C80 + 4 * (n))
#define RXCTRL           0x03000
#define   RXCTRL_RXEN    BIT(0)
#define RDRXCTL          0x02F00
#define   RDRXCTL_CRCSTRIP    BIT(1)
#define   RDRXCTL_DMAIDONE    BIT(3) /* read-only */
#define   RDRXCTL_RSCFRSTSIZE (0x1Fu << 17) /* must be 0 */
#define   RDRXCTL_RSCACKC     BIT(25)
#define   RDRXCTL_FCOE_WRFIX  BIT(26)
#define PFQDE            0x02F04
#define RDDCC            0x02F20
#define RXDSTATCTRL      0x02F40
#define RSCDBU           0x03028
#define RTRUP2TC         0x03020
#define RTRPCS           0x02430
#define RXPBSIZE(n)      (0x03C00 + 4 * (n)) /* n 0..7; bits 19:10, KiB */
#define   RXPBSIZE_SHIFT 10
#define   RXPB_TOTAL_KIB 512
#define SECRXCTRL        0x08D00
#define   SECRXCTRL_SECRX_DIS BIT(0)
#define   SECRXCTRL_RX_DIS    BIT(1)
#define SECRXSTAT        0x08D04
#define   SECRXSTAT_RDY  BIT(0)

/* Queue n of 128: 64 in each bank. Doorbell page 0x1000 (RX 0..63), 0xD000 (RX 64..127). */
#define RXQ(n)           ((n) < 64 ? 0x01000 + 0x40 * (n) : 0x0D000 + 0x40 * ((n) - 64))
#define RDBAL(n)         (RXQ(n) + 0x00)
#define RDBAH(n)         (RXQ(n) + 0x04)
#define RDLEN(n)         (RXQ(n) + 0x08) /* bytes; low 7 bits read-only 0 */
#define DCA_RXCTRL(n)    (RXQ(n) + 0x0C) /* 0..15 also at 0x2200 */
#define   DCA_RXCTRL_BIT12       BIT(12) /* must be cleared, datasheet 8.2.3.11.1 */
#define   DCA_RXCTRL_DESC_WRO_EN BIT(11) /* relaxed ordering of descriptor write-back: keep off */
#define DCA_RXCTRL_LEGACY(n) (0x02200 + 4 * (n))
#define RDH(n)           (RXQ(n) + 0x10)
#define SRRCTL(n)        (RXQ(n) + 0x14) /* 0..15 also at 0x2100 */
#define   SRRCTL_BSIZEPACKET     0x1Fu      /* KiB */
#define   SRRCTL_BSIZEHEADER_SHIFT 8        /* 64 bytes each, bits 13:8 */
#define   SRRCTL_DESCTYPE        (7u << 25)
#define   SRRCTL_DESCTYPE_LEGACY   (0u << 25)
#define   SRRCTL_DESCTYPE_ADV_ONEBUF (1u << 25)
#define   SRRCTL_DESCTYPE_ADV_SPLIT  (2u << 25)
#define   SRRCTL_DESCTYPE_ADV_SPLIT_ALWAYS (5u << 25)
#define   SRRCTL_DROP_EN         BIT(28)
#define SRRCTL_LEGACY(n) (0x02100 + 4 * (n))
#define RDT(n)           (RXQ(n) + 0x18)
#define RXDCTL(n)        (RXQ(n) + 0x28)
#define   RXDCTL_ENABLE  BIT(25)
#define   RXDCTL_VME     BIT(30) /* VLAN strip */
#define RSCCTL(n)        (RXQ(n) + 0x2C)
#define   RSCCTL_RSCEN   BIT(0)

/* --- 8.2.3.9 transmit ---------------------------------------------------------------------------- */
#define DMATXCTL         0x04A80
#define   DMATXCTL_TE    BIT(0)
#define   DMATXCTL_GDV   BIT(3)
#define   DMATXCTL_VT_SHIFT 16
#define DTXTCPFLGL       0x04A88
#define   DTXTCPFLGL_DEFAULT 0x0FF60FF6u
#define   DTXTCPFLGL_FIRST   0xFF6u /* TCP flags that the first segment keeps */
#define   DTXTCPFLGL_MIDDLE  0xF76u
#define DTXTCPFLGH       0x04A8C
#define   DTXTCPFLGH_DEFAULT 0x00000F7Fu
#define   DTXTCPFLGH_LAST    0xF7Fu
#define DTXMXSZRQ        0x08100
#define   DTXMXSZRQ_MAX  0xFFFu /* the field has 12 bits */
#define MTQC             0x08120
#define RTTDCS           0x04900
#define   RTTDCS_ARBDIS  BIT(6)
#define RTTDQSEL         0x04904
#define RTTDT1C          0x04908
#define RTTBCNRC         0x04984 /* rate limiter of the queue that RTTDQSEL names */
#define RTTPCS           0x0CD00
#define RTTUP2TC         0x0C800
#define TXPBSIZE(n)      (0x0CC00 + 4 * (n)) /* n 0..7; bits 19:10, KiB */
#define   TXPBSIZE_SHIFT 10
#define   TXPB_TOTAL_KIB 160
#define TXPBTHRESH(n)    (0x04950 + 4 * (n)) /* n 0..7; KiB */
#define SECTXCTRL        0x08800
#define SECTXSTAT        0x08804
#define SECTXBUFFAF      0x08808
#define SECTXMINIFG      0x08810

#define TXQ(n)           (0x06000 + 0x40 * (n)) /* n 0..127 */
#define TDBAL(n)         (TXQ(n) + 0x00)
#define TDBAH(n)         (TXQ(n) + 0x04)
#define TDLEN(n)         (TXQ(n) + 0x08)
#define DCA_TXCTRL(n)    (TXQ(n) + 0x0C)
#define   DCA_TXCTRL_DESC_WRO_EN BIT(11) /* relaxed ordering of descriptor write-back: keep off */
#define TDH(n)           (TXQ(n) + 0x10)
#define TDT(n)           (TXQ(n) + 0x18)
#define TXDCTL(n)        (TXQ(n) + 0x28)
#define   TXDCTL_PTHRESH_SHIFT 0
#define   TXDCTL_HTHRESH_SHIFT 8
#define   TXDCTL_WTHRESH_SHIFT 16
#define   TXDCTL_ENABLE  BIT(25)
#define   TXDCTL_SWFLSH  BIT(26)
#define TDWBAL(n)        (TXQ(n) + 0x38)
#define   TDWBAL_HEAD_WB_EN BIT(0)
#define TDWBAH(n)        (TXQ(n) + 0x3C)

/* --- 8.2.3.22 MAC and link ----------------------------------------------------------------------- */
#define HLREG0           0x04240
#define   HLREG0_TXCRCEN   BIT(0)
#define   HLREG0_RXCRCSTRP BIT(1)
#define   HLREG0_JUMBOEN   BIT(2)
#define   HLREG0_TXPADEN   BIT(10)
#define   HLREG0_LPBK      BIT(15)
#define HLREG1           0x04244
#define PAP              0x04248
#define MSCA             0x0425C
#define   MSCA_MDI_COMMAND BIT(30)
#define MSRWD            0x04260
#define MAXFRS           0x04268
#define   MAXFRS_SHIFT   16 /* bytes, CRC included, VLAN tags not */
#define PCS1GLCTL        0x04208
#define PCS1GLSTA        0x0420C
#define PCS1GANA         0x04218
#define MFLCN            0x04294
#define   MFLCN_PMCF     BIT(0) /* pass MAC control frames */
#define   MFLCN_DPF      BIT(1)
#define   MFLCN_RPFCE    BIT(2)
#define   MFLCN_RFCE     BIT(3)
#define FCCFG            0x03D00
#define FCTTV(n)         (0x03200 + 4 * (n))
#define FCRTL(n)         (0x03220 + 4 * (n))
#define FCRTH(n)         (0x03260 + 4 * (n))
#define FCRTV            0x032A0
#define TFCS             0x0CE00
#define AUTOC            0x042A0
#define   AUTOC_FLU        BIT(0)
#define   AUTOC_AN_RESTART BIT(12)
#define   AUTOC_LMS_SHIFT  13
#define   AUTOC_LMS_MASK   (7u << 13)
#define   AUTOC_LMS_10G_SFI (3u << 13)
#define   AUTOC_10G_PMA_PMD_SHIFT 7
#define LINKS            0x042A4
#define   LINKS_UP         BIT(30)
#define   LINKS_SPEED      (3u << 28)
#define   LINKS_SPEED_10G  (3u << 28)
#define   LINKS_SPEED_1G   (2u << 28)
#define   LINKS_SPEED_100M (1u << 28)
#define AUTOC2           0x042A8
#define   AUTOC2_10G_SERIAL_PMA_PMD (3u << 16)
#define   AUTOC2_10G_SFI   (2u << 16)
#define   AUTOC2_LINK_DISABLE (7u << 28)
#define ANLP1            0x042B0
#define ANLP2            0x042B4
#define LINKS2           0x04324
#define MACC             0x04330
#define WUC              0x05800
#define WUFC             0x05808

/* --- 8.2.3.23 statistics: clear on read ---------------------------------------------------------- */
#define CRCERRS          0x04000
#define ILLERRC          0x04004
#define ERRBC            0x04008
#define MSPDC            0x04010
#define MPC(n)           (0x03FA0 + 4 * (n)) /* n 0..7: missed packets, by packet buffer */
#define RNBC(n)          (0x03FC0 + 4 * (n))
#define MLFC             0x04034
#define MRFC             0x04038
#define RLEC             0x04040
#define SSVPC            0x08780
#define LXONTXC          0x03F60
#define LXOFFTXC         0x03F68
#define LXONRXC          0x0CF60
#define LXOFFRXC         0x0CF68
#define LXONRXCNT        0x041A4
#define LXOFFRXCNT       0x041A8
#define PXONTXC(n)       (0x03F00 + 4 * (n))
#define PXOFFTXC(n)      (0x03F20 + 4 * (n))
#define PXONRXCNT(n)     (0x04140 + 4 * (n))
#define PXOFFRXCNT(n)    (0x04160 + 4 * (n))
#define PXON2OFFCNT(n)   (0x03240 + 4 * (n))
#define PRC64            0x0405C
#define PRC127           0x04060
#define PRC255           0x04064
#define PRC511           0x04068
#define PRC1023          0x0406C
#define PRC1522          0x04070
#define GPRC             0x04074
#define BPRC             0x04078
#define MPRC             0x0407C
#define GPTC             0x04080
#define GORCL            0x04088
#define GORCH            0x0408C
#define GOTCL            0x04090
#define GOTCH            0x04094
#define RUC              0x040A4
#define RFC              0x040A8
#define ROC              0x040AC
#define RJC              0x040B0
#define MNGPRC           0x040B4
#define MNGPDC           0x040B8
#define MNGPTC           0x0CF90
#define TORL             0x040C0
#define TORH             0x040C4
#define TPR              0x040D0
#define TPT              0x040D4
#define PTC64            0x040D8
#define PTC127           0x040DC
#define PTC255           0x040E0
#define PTC511           0x040E4
#define PTC1023          0x040E8
#define PTC1522          0x040EC
#define MPTC             0x040F0
#define BPTC             0x040F4
#define XEC              0x04120
#define RXNFGPC          0x041B0
#define RXNFGBCL         0x041B4
#define RXNFGBCH         0x041B8
#define RXDGPC           0x02F50
#define RXDGBCL          0x02F54
#define RXDGBCH          0x02F58
#define TXDGPC           0x087A0
#define TXDGBCL          0x087A4
#define TXDGBCH          0x087A8
#define FCCRC            0x05118
#define FCOERPDC         0x0241C
#define FCLAST           0x02424
#define FCOEPRC          0x02428
#define FCOEDWRC         0x0242C
#define FCOEPTC          0x08784
#define FCOEDWTC         0x08788
#define QPRC(n)          (0x01030 + 0x40 * (n)) /* n 0..15 */
#define QBRC_L(n)        (0x01034 + 0x40 * (n))
#define QBRC_H(n)        (0x01038 + 0x40 * (n))
#define QPRDC(n)         (0x01430 + 0x40 * (n)) /* dropped with DROP_EN */
#define QPTC(n)          (0x06030 + 0x40 * (n)) /* also 0x8680 + 4n */
#define QPTC_ALIAS(n)    (0x08680 + 4 * (n))
#define QBTC_L(n)        (0x08700 + 8 * (n))
#define QBTC_H(n)        (0x08704 + 8 * (n))
#define RQSMR(n)         (0x02300 + 4 * (n)) /* n 0..31: queue -> statistics counter */
#define TQSM(n)          (0x08600 + 4 * (n)) /* n 0..31 */

/* --- 7.1.5, 7.1.6: receive descriptors ----------------------------------------------------------- */
union ixgbe_rx_desc {
	struct { /* what software writes */
		uint64_t packet_addr;
		uint64_t header_addr; /* bit 0 is the DD of the write-back: keep it 0 */
	} read;
	struct { /* what the NIC writes back, 7.1.6.2 */
		uint32_t info;     /* RSS type 3:0, packet type 16:4, RSCCNT 20:17, header length 30:21, SPH 31 */
		uint32_t rss_hash;
		uint32_t status_error;
		uint16_t length;
		uint16_t vlan;
	} wb;
	uint64_t half[2]; /* either form, as it is loaded: info and hash; status, length and tag */
	struct { /* legacy form, 7.1.5 */
		uint64_t addr;
		uint16_t length;
		uint16_t checksum;
		uint8_t status;
		uint8_t errors;
		uint16_t vlan;
	} legacy;
};
#define RXD_STAT_DD    BIT(0)
#define RXD_STAT_EOP   BIT(1)
#define RXD_STAT_VP    BIT(3)  /* tag was stripped into vlan */
#define RXD_STAT_UDPV  BIT(10)
#define RXD_STAT_UDPCS BIT(4)  /* UDP checksum calculated */
#define RXD_STAT_L4I   BIT(5)  /* L4 checksum was checked */
#define RXD_STAT_IPCS  BIT(6)  /* IP checksum was checked */
#define RXD_STAT_PIF   BIT(7)
#define RXD_ERR_HBO    BIT(23)
#define RXD_ERR_RXE    BIT(29) /* any MAC error */
#define RXD_ERR_TCPE   BIT(30) /* L4 checksum error */
#define RXD_ERR_IPE    BIT(31) /* IPv4 checksum error */
/* info.packet type, bits 16:4 of info (7.1.6.2.2), as bits of info */
#define RXD_TYPE_IPV4  BIT(4)
#define RXD_TYPE_IPV4E BIT(5)
#define RXD_TYPE_IPV6  BIT(6)
#define RXD_TYPE_IPV6E BIT(7)
#define RXD_TYPE_TCP   BIT(8)
#define RXD_TYPE_UDP   BIT(9)
#define RXD_TYPE_SCTP  BIT(10)
#define RXD_TYPE_ETQF  BIT(15)
#define RXD_INFO_HDR_LEN_SHIFT 21 /* bits 30:21 of info: bytes in the header buffer */
#define RXD_INFO_SPH   BIT(31) /* the header was split off */

/* --- 7.2.3: transmit descriptors ----------------------------------------------------------------- */
union ixgbe_tx_desc {
	struct { /* advanced data descriptor, 7.2.3.2.4 */
		uint64_t addr;
		uint32_t cmd_type_len;
		uint32_t olinfo_status;
	} read;
	uint64_t half[2];
	struct {
		uint64_t reserved;
		uint32_t nxtseq;
		uint32_t status;
	} wb;
	struct { /* advanced context descriptor, 7.2.3.2.3 */
		uint32_t vlan_maclen_iplen; /* VLAN 31:16, MACLEN 15:9, IPLEN 8:0 */
		uint32_t fcoef_ipsec;
		uint32_t tucmd;             /* DTYP 23:20, DEXT 29, L4T 12:11, IPV4 10 */
		uint32_t mss_l4len_idx;     /* MSS 31:16, L4LEN 15:8, IDX 6:4 */
	} context;
	struct { /* legacy, 7.2.3.2.2 */
		uint64_t addr;
		uint16_t length;
		uint8_t cso;
		uint8_t cmd;    /* same command bits as TXD_CMD_*, shifted down by 24 */
		uint8_t status;
		uint8_t css;
		uint16_t vlan;
	} legacy;
};
#define TXD_DTYP_CONTEXT (2u << 20)
#define TXD_DTYP_DATA    (3u << 20)
#define TXD_DTYP_MASK    (0xFu << 20)
#define TXD_CMD_EOP   BIT(24)
#define TXD_CMD_IFCS  BIT(25)
#define TXD_CMD_IC    BIT(26) /* legacy: insert checksum */
#define TXD_CMD_RS    BIT(27)
#define TXD_CMD_DEXT  BIT(29)
#define TXD_CMD_VLE   BIT(30)
#define TXD_CMD_TSE   BIT(31)
#define TXD_LENGTH    0xFFFFu
#define TXD_STAT_DD   BIT(0)
#define TXD_OL_CC          BIT(7)
#define TXD_OL_IDX_SHIFT   4
#define TXD_OL_POPTS_IXSM  BIT(8)
#define TXD_OL_POPTS_TXSM  BIT(9)
#define TXD_OL_PAYLEN_SHIFT 14
#define TXC_TUCMD_IPV4     BIT(10)
#define TXC_TUCMD_L4T_SHIFT 11 /* 0 UDP, 1 TCP, 2 SCTP */
#define TXC_L4T_UDP        0u
#define TXC_L4T_TCP        1u
#define TXC_L4T_SCTP       2u
#define TXC_MACLEN_SHIFT   9
#define TXC_VLAN_SHIFT     16
#define TXC_MSS_SHIFT      16
#define TXC_L4LEN_SHIFT    8
#define TXC_IDX_SHIFT      4

/* clang-format on */

_Static_assert(sizeof(union ixgbe_rx_desc) == 16, "receive descriptor");
_Static_assert(sizeof(union ixgbe_tx_desc) == 16, "transmit descriptor");

#endif
