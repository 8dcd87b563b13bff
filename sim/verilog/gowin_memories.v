// The block RAMs of Gowin, as far as Yosys makes use of them: one port (SP, SPX9), one that writes
// beside one that reads (SDPX9B), or two (DPB, DPX9B), with bytes of 8 or 9 bits; no output registers,
// block 0, no reset. Anything else stops the simulation.
//
// Written from what Yosys maps to the blocks (gowin/brams_map.v) and Gowin's functional library;
// not a model of their timing.

`timescale 1ns / 1ns

`define TILEWRIGHT_INIT_PARAMETERS(BITS) \
    parameter [BITS-1:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0, \
    parameter [BITS-1:0] INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0, \
    parameter [BITS-1:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0, \
    parameter [BITS-1:0] INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0, \
    parameter [BITS-1:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0, \
    parameter [BITS-1:0] INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0, \
    parameter [BITS-1:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0, \
    parameter [BITS-1:0] INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0, \
    parameter [BITS-1:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0, \
    parameter [BITS-1:0] INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0, \
    parameter [BITS-1:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0, \
    parameter [BITS-1:0] INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0, \
    parameter [BITS-1:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0, \
    parameter [BITS-1:0] INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0, \
    parameter [BITS-1:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0, \
    parameter [BITS-1:0] INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0

`define TILEWRIGHT_INIT_RAM { \
    INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, \
    INIT_RAM_39, INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, \
    INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, \
    INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
    INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, \
    INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, \
    INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16, \
    INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
    INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, \
    INIT_RAM_09, INIT_RAM_08, INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, \
    INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00 }

module tilewright_gowin_memory_check #(parameter UNSUPPORTED = 0) (
    input CLK, RESET, input [2:0] BLKSEL
);
    initial
        if (UNSUPPORTED) begin
            $display("%m: a parameter has a value that this model does not have");
            $fatal;
        end

    always @(posedge CLK)
        if (RESET !== 0 || BLKSEL !== 0) begin
            $display("%m: RESET and BLKSEL must be 0 in this model");
            $fatal;
        end
endmodule

module SP #(
    parameter READ_MODE = 1'b0, WRITE_MODE = 2'b00, BIT_WIDTH = 32, BLK_SEL = 3'b000,
    parameter RESET_MODE = "SYNC",
    `TILEWRIGHT_INIT_PARAMETERS(256)
) (
    input CLK, CE, OCE, WRE, RESET,
    input [2:0] BLKSEL,
    input [13:0] AD,
    input [31:0] DI,
    output [31:0] DO
);
    tilewright_block_ram #(
        .BYTE(8), .WIDTH_A(BIT_WIDTH), .WIDTH_B(8), .MODE_A(WRITE_MODE),
        .INIT(`TILEWRIGHT_INIT_RAM)
    ) ram (
        .clk_a(CLK), .enable_a(CE), .write_a(WRE), .address_a(AD), .data_a(DI), .q_a(DO),
        .clk_b(CLK), .enable_b(1'b0), .write_b(1'b0), .address_b(14'b0), .data_b(32'b0), .q_b()
    );
    tilewright_gowin_memory_check #(.UNSUPPORTED(READ_MODE || BLK_SEL || WRITE_MODE == 3)) check (
        .CLK(CLK), .RESET(RESET), .BLKSEL(BLKSEL)
    );
endmodule

module SPX9 #(
    parameter READ_MODE = 1'b0, WRITE_MODE = 2'b00, BIT_WIDTH = 36, BLK_SEL = 3'b000,
    parameter RESET_MODE = "SYNC",
    `TILEWRIGHT_INIT_PARAMETERS(288)
) (
    input CLK, CE, OCE, WRE, RESET,
    input [2:0] BLKSEL,
    input [13:0] AD,
    input [35:0] DI,
    output [35:0] DO
);
    tilewright_block_ram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH), .WIDTH_B(9), .MODE_A(WRITE_MODE),
        .INIT(`TILEWRIGHT_INIT_RAM)
    ) ram (
        .clk_a(CLK), .enable_a(CE), .write_a(WRE), .address_a(AD), .data_a(DI), .q_a(DO),
        .clk_b(CLK), .enable_b(1'b0), .write_b(1'b0), .address_b(14'b0), .data_b(36'b0), .q_b()
    );
    tilewright_gowin_memory_check #(.UNSUPPORTED(READ_MODE || BLK_SEL || WRITE_MODE == 3)) check (
        .CLK(CLK), .RESET(RESET), .BLKSEL(BLKSEL)
    );
endmodule

module SDPX9B #(
    parameter READ_MODE = 1'b0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36,
    parameter BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000,
    parameter RESET_MODE = "SYNC",
    `TILEWRIGHT_INIT_PARAMETERS(288)
) (
    input CLKA, CEA, RESETA, CLKB, CEB, OCE, RESETB,
    input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB,
    input [35:0] DI,
    output [35:0] DO
);
    tilewright_block_ram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .INIT(`TILEWRIGHT_INIT_RAM)
    ) ram (
        .clk_a(CLKA), .enable_a(CEA), .write_a(1'b1), .address_a(ADA), .data_a(DI), .q_a(),
        .clk_b(CLKB), .enable_b(CEB), .write_b(1'b0), .address_b(ADB), .data_b(36'b0), .q_b(DO)
    );
    tilewright_gowin_memory_check #(.UNSUPPORTED(READ_MODE || BLK_SEL_0 || BLK_SEL_1)) check (
        .CLK(CLKB), .RESET(RESETA | RESETB), .BLKSEL(BLKSELA | BLKSELB)
    );
endmodule

module DPB #(
    parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00,
    parameter BIT_WIDTH_0 = 16, BIT_WIDTH_1 = 16, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000,
    parameter RESET_MODE = "SYNC",
    `TILEWRIGHT_INIT_PARAMETERS(256)
) (
    input CLKA, CEA, OCEA, WREA, RESETA, CLKB, CEB, OCEB, WREB, RESETB,
    input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB,
    input [15:0] DIA, DIB,
    output [15:0] DOA, DOB
);
    tilewright_block_ram #(
        .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1),
        .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1), .INIT(`TILEWRIGHT_INIT_RAM)
    ) ram (
        .clk_a(CLKA), .enable_a(CEA), .write_a(WREA), .address_a(ADA), .data_a(DIA), .q_a(DOA),
        .clk_b(CLKB), .enable_b(CEB), .write_b(WREB), .address_b(ADB), .data_b(DIB), .q_b(DOB)
    );
    tilewright_gowin_memory_check #(
        .UNSUPPORTED(READ_MODE0 || READ_MODE1 || BLK_SEL_0 || BLK_SEL_1 || WRITE_MODE0 == 3
            || WRITE_MODE1 == 3)
    ) check (
        .CLK(CLKB), .RESET(RESETA | RESETB), .BLKSEL(BLKSELA | BLKSELB)
    );
endmodule

module DPX9B #(
    parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00,
    parameter BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000,
    parameter RESET_MODE = "SYNC",
    `TILEWRIGHT_INIT_PARAMETERS(288)
) (
    input CLKA, CEA, OCEA, WREA, RESETA, CLKB, CEB, OCEB, WREB, RESETB,
    input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB,
    input [17:0] DIA, DIB,
    output [17:0] DOA, DOB
);
    tilewright_block_ram #(
        .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1),
        .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1), .INIT(`TILEWRIGHT_INIT_RAM)
    ) ram (
        .clk_a(CLKA), .enable_a(CEA), .write_a(WREA), .address_a(ADA), .data_a(DIA), .q_a(DOA),
        .clk_b(CLKB), .enable_b(CEB), .write_b(WREB), .address_b(ADB), .data_b(DIB), .q_b(DOB)
    );
    tilewright_gowin_memory_check #(
        .UNSUPPORTED(READ_MODE0 || READ_MODE1 || BLK_SEL_0 || BLK_SEL_1 || WRITE_MODE0 == 3
            || WRITE_MODE1 == 3)
    ) check (
        .CLK(CLKB), .RESET(RESETA | RESETB), .BLKSEL(BLKSELA | BLKSELB)
    );
endmodule
